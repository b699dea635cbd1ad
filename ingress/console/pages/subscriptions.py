"""Who is told: the subscriptions with what waits for them, the consumers' queues, and one subscription."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from aiohttp import web

from ingress import outbound
from ingress.console import delivery_words as words
from ingress.console import paging
from ingress.console.consumer_queues import Queues, read_queues
from ingress.console.errors import not_found
from ingress.console.route import page
from ingress.console.visit import Page, Visit
from schemas.dialects import get_dialect
from storage import events, replays, subscription_lists, subscriptions
from storage.replays import ReplayState
from storage.subscription_lists import Backlog, ListedSubscription, Settings

PATH = "/console/subscriptions"
STATES = ("enabled", "disabled")
LONGEST_CONDITION = 300
"""Characters of a condition that are shown."""
NEWEST_REPLAYS = 20
"""Number of replays that the page of a subscription shows."""


class State(msgspec.Struct, frozen=True):
    """The state of a subscription in words."""

    word: str
    kind: str
    sentence: str


class Outcome(msgspec.Struct, frozen=True):
    """One of the newest outcomes."""

    word: str
    kind: str


class Strip(msgspec.Struct, frozen=True):
    """The newest outcomes, the oldest first, as shapes and in words."""

    outcomes: Sequence[Outcome]
    text: str
    """Such as `18 delivered, 2 failed`."""


class SubscriptionLine(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription in the list."""

    id: UUID
    subscriber: str
    url: str
    types: Sequence[str]
    accounts: Sequence[str]
    is_filtered: bool
    dialect: str
    state: State
    waiting: str
    """Counted up to a limit: `1,000+`."""
    next_attempt_at: datetime | None
    is_due: bool
    strip: Strip


class SubscriptionsView(msgspec.Struct, frozen=True, kw_only=True):
    """The subscriptions that the filters select, and the consumers."""

    subscriber: str | None
    state: str | None
    subscribers: Sequence[str]
    states: Sequence[str]
    rows: paging.Rows[SubscriptionLine]
    queues: Queues

    @property
    def is_filtered(self) -> bool:
        """Whether anything narrows the list."""
        return self.subscriber is not None or self.state is not None

    def query(self, **changes: str | None) -> str:
        """Return the query of the list's address, with some of its parameters changed."""
        values = {"subscriber": self.subscriber, "state": self.state, **changes}
        return urlencode({name: value for name, value in values.items() if value})


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an event matches a subscription."""

    event: UUID
    kind: str
    sentence: str


class SubscriptionView(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription with its replays."""

    settings: Settings
    subscriber: str
    state: State
    waiting: str
    failed: str
    next_attempt_at: datetime | None
    is_due: bool
    schedule: str
    """When deliveries are attempted, in words."""
    strip: Strip
    replays: Sequence[ReplayState]
    has_secret: bool
    missed: tuple[datetime, datetime | None] | None
    """From when to when it was disabled, for the last time: nothing was put into its queue then."""
    compared: Compared | None
    """An event that was compared with it; None if none was."""
    may_act: bool
    problem: str
    """What is wrong with a form that was sent; empty if none was."""
    entered: Mapping[str, str]
    """What that form held."""


async def show_list(visit: Visit) -> Page | web.StreamResponse:
    """Show the subscriptions and the consumers."""
    subscriber, state = visit.query("subscriber"), visit.query_choice("state", STATES)
    listed = await subscription_lists.overview(
        visit.connection,
        subscriber=subscriber,
        enabled=None if state is None else state == "enabled",
        before=paging.place(visit.query("after")),
        limit=paging.ROWS + 1,
    )
    rows = paging.page(listed, lambda row: (row.settings.created_at, row.settings.id))
    view = SubscriptionsView(
        subscriber=subscriber,
        state=state,
        subscribers=sorted({*visit.context.config.subscribers, *([subscriber] if subscriber else [])}),
        states=STATES,
        rows=paging.Rows([_line(visit, row) for row in rows.rows], rows.after),
        queues=await read_queues(visit),
    )
    return Page(template="subscriptions.html", view=view, title="Subscriptions")


async def show(visit: Visit) -> Page | web.StreamResponse:
    """Show one subscription with its replays."""
    return await page_of(visit)


async def page_of(visit: Visit, problem: str = "", entered: Mapping[str, str] | None = None) -> Page:
    """Return the page of one subscription. `problem`: what is wrong with the form of it that was sent."""
    id_ = visit.path_uuid("subscription")
    settings = await subscription_lists.get(visit.connection, id_)
    if settings is None:
        raise not_found(f"subscription {id_}")
    backlog = await subscription_lists.backlog(visit.connection, id_)
    view = SubscriptionView(
        settings=settings,
        subscriber=words.subscriber(settings.subscriber),
        state=state_of(visit, settings, backlog),
        waiting=capped(backlog.waiting),
        failed=capped(backlog.failed or 0),
        schedule=_schedule(visit, settings),
        next_attempt_at=backlog.next_attempt_at,
        is_due=is_due(backlog),
        strip=strip_of(backlog),
        replays=await replays.listing(visit.connection, id_, NEWEST_REPLAYS),
        has_secret=_has_secret(settings.dialect),
        missed=None if settings.disabled_at is None else (settings.disabled_at, settings.enabled_at),
        compared=await _compare(visit),
        may_act=visit.may_act,
        problem=problem,
        entered=entered or {},
    )
    return Page(
        template="subscription.html",
        view=view,
        title=f"Subscription of {view.subscriber}",
        status=400 if problem else 200,
        path=f"{PATH}/{id_}",
    )


async def _compare(visit: Visit) -> Compared | None:
    """Compare the event that the address names with the subscription. Raises PageError: 400."""
    id_ = visit.query_uuid("event")
    if id_ is None:
        return None
    event = await events.get(visit.connection, id_)
    subscription = await subscriptions.get(visit.connection, visit.path_uuid("subscription"), None)
    if event is None or event.is_erased or subscription is None:
        return Compared(
            event=id_, kind="neutral", sentence="No event with this id is stored, or its content was erased."
        )
    match = outbound.match(outbound.scope_of(visit.context.config, subscription), event)
    if match.decided_by is not None:
        # What the event has there may be personal data.
        condition = render_json(match.decided_by.condition)
        return Compared(
            event=id_, kind="off", sentence=f"It does not match: {match.decided_by.path} is not {condition}."
        )
    why = "" if match.compared else " Its arrays are too long to be compared, so it is sent."
    return Compared(event=id_, kind="good", sentence=f"It matches.{why}")


def render_json(value: object) -> str:
    """Return a part of a filter as JSON, shortened."""
    return words.short(msgspec.json.Encoder(decimal_format="number").encode(value).decode(), LONGEST_CONDITION)


def state_of(visit: Visit, settings: Settings, backlog: Backlog) -> State:
    """Return the state of a subscription in words; if it is enabled, with what its server answers now."""
    now = datetime.now(UTC)
    state = State(
        *words.subscription_state(
            enabled=settings.enabled,
            disabled_at=settings.disabled_at,
            disabled_reason=settings.disabled_reason,
            paused_until=settings.paused_until,
            now=now,
            is_configured=outbound.is_configured(visit.context.config, settings.subscriber),
        )
    )
    if state.kind != "good":
        return State(state.word, state.kind, state.sentence + words.newest_answer(backlog.last))
    trouble = words.trouble(backlog.last, backlog.failing_since, backlog.next_attempt_at, now)
    return state if trouble is None else State("failing", "warn", trouble)


def is_due(backlog: Backlog) -> bool:
    """Return whether a delivery should have been attempted by now."""
    return backlog.next_attempt_at is not None and backlog.next_attempt_at <= datetime.now(UTC)


def strip_of(backlog: Backlog) -> Strip:
    """Return the newest outcomes as shapes and in words."""
    counts = {status: backlog.outcomes.count(status) for status in dict.fromkeys(words.KINDS)}
    text = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return Strip([Outcome(status, words.KINDS.get(status, "neutral")) for status in backlog.outcomes], text)


def capped(count: int) -> str:
    """Return a number that was counted up to a limit."""
    most = subscription_lists.MOST_COUNTED
    return f"{most:,}+" if count > most else f"{count:,}"


def _line(visit: Visit, row: ListedSubscription) -> SubscriptionLine:
    settings = row.settings
    return SubscriptionLine(
        id=settings.id,
        subscriber=words.subscriber(settings.subscriber),
        url=settings.url,
        types=settings.types,
        accounts=settings.accounts,
        is_filtered=settings.filter is not None,
        dialect=settings.dialect,
        state=state_of(visit, settings, row.backlog),
        waiting=capped(row.backlog.waiting),
        next_attempt_at=row.backlog.next_attempt_at,
        is_due=is_due(row.backlog),
        strip=strip_of(row.backlog),
    )


def _schedule(visit: Visit, settings: Settings) -> str:
    """Return when deliveries are attempted, in words."""
    delivery = visit.context.config.delivery
    try:
        is_forever = get_dialect(settings.dialect).forever
    except LookupError:
        is_forever = False
    seconds = delivery.schedule if settings.schedule is None else settings.schedule
    return words.schedule(seconds, delivery.channelape_interval if is_forever else None)


def _has_secret(dialect: str) -> bool:
    try:
        return get_dialect(dialect).make_secret is not None
    except LookupError:
        return False


# The depths of queues change without a transaction of the database.
ROUTES = (page(PATH, show_list, follows_database=False), page(f"{PATH}/{{id}}", show))
