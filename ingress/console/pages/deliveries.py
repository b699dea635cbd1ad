"""The deliveries to subscribers: the list, filtered, and one with its attempts."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from aiohttp import web

from ingress import outbound
from ingress.console import delivery_words as words
from ingress.console import paging
from ingress.console.delivery_request import RequestView, describe_request
from ingress.console.errors import PageError, not_found
from ingress.console.route import page
from ingress.console.visit import Page, Visit
from schemas import registry
from storage import delivery_lists, replays, subscription_lists
from storage.deliveries import Selection, Status
from storage.delivery_lists import Document, Listed, ListedDelivery, ShownAttempt
from storage.subscription_lists import Settings

PATH = "/console/deliveries"
LARGEST_READ = 256 * 1024
"""Maximum bytes of a body that are read in order to show the headers that go with it."""
MOST_NAMES = 200
"""Maximum number of subscriptions, types and accounts that a filter offers."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What the list is filtered by, as the address has it."""

    selection: Selection

    @property
    def values(self) -> dict[str, str]:
        """The filters by their names in the address, without those that are not set."""
        values = msgspec.structs.asdict(self.selection)
        return {name: _text(value) for name, value in values.items() if value is not None}

    @property
    def is_filtered(self) -> bool:
        """Whether anything but the status narrows the list."""
        return bool(self.values.keys() - {"status"})

    def query(self, **changes: str | None) -> str:
        """Return the query of the list's address, with some of its parameters changed, or removed by None."""
        return urlencode({name: value for name, value in {**self.values, **changes}.items() if value})


class DeliveryLine(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery in the list."""

    id: UUID
    status: str
    kind: str
    type: str
    key: str
    document: Document | None
    """None if it is no longer stored."""
    account: str
    subscriber: str
    url: str
    subscription_id: UUID
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    error: str
    enabled: bool
    """Whether its subscription is enabled."""
    paused_until: datetime | None
    """Until when the subscriber's server asked for a pause."""

    @property
    def document_path(self) -> str | None:
        """Where its document is shown."""
        return words.document_path(self.document)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One option of a filter."""

    value: str
    label: str


class DeliveriesView(msgspec.Struct, frozen=True, kw_only=True):
    """The deliveries that the filters select."""

    filters: Filters
    statuses: Sequence[tuple[str, str]]
    types: Sequence[str]
    accounts: Sequence[str]
    subscriptions: Sequence[Choice]
    deliveries: paging.Rows[DeliveryLine]
    looked_back_to: datetime | None
    """How far back the list was searched, if that was not to its end."""
    may_act: bool
    back: str
    """Where an action returns to."""
    problem: str
    """What is wrong with the filter; empty if nothing is."""
    entered: Mapping[str, str]
    """The times as they were typed, if something is wrong."""


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery with its attempts."""

    line: DeliveryLine
    event_id: UUID
    version: int
    replay_id: UUID | None
    meaning: str
    waits: str | None
    """Why it waits although it is due; None if that is not known."""
    subscription_word: str
    subscription_kind: str
    subscription_sentence: str
    is_subscription_deleted: bool
    is_subscription_disabled: bool
    attempts: Sequence[ShownAttempt]
    request: RequestView
    refusal: str | None
    """Why it cannot be sent again; None if it can."""
    may_act: bool


async def show_list(visit: Visit) -> Page | web.StreamResponse:
    """Show the deliveries that the filters select."""
    selection, problem = _selection(visit)
    filters = Filters(selection=selection)
    before = paging.place(visit.query("after"))
    listed = Listed([], None)
    if not problem:
        listed = await delivery_lists.select(visit.connection, selection, before=before, limit=paging.ROWS + 1)
    rows: paging.Rows[DeliveryLine] = paging.page(
        [line(row) for row in listed.rows], lambda row: (row.created_at, row.id)
    )
    looked_back_to = None
    if rows.after is None and listed.examined_to is not None:
        looked_back_to, id_ = listed.examined_to
        rows = paging.Rows(rows.rows, f"{looked_back_to.isoformat()}~{id_}")
    sources = await replays.all_sources(visit.connection)
    view = DeliveriesView(
        filters=filters,
        statuses=words.STATUSES,
        types=sorted({*sources.types, *registry.announced_types(), *_given(filters.selection.type)})[:MOST_NAMES],
        accounts=sorted(
            {*map("/".join, zip(sources.platforms, sources.accounts, strict=True)), *_given(filters.selection.account)}
        )[:MOST_NAMES],
        subscriptions=await _subscriptions(visit, filters.selection.subscription),
        deliveries=rows,
        looked_back_to=looked_back_to,
        may_act=visit.may_act,
        back=f"{PATH}?{filters.query()}",
        problem=problem,
        entered={name: visit.request.query.get(name, "")[:100] for name in ("since", "until")} if problem else {},
    )
    return Page(template="deliveries.html", view=view, title="Deliveries", status=400 if problem else 200)


def _selection(visit: Visit) -> tuple[Selection, str]:
    """Return what the address selects without what is wrong in it, and the first thing that is, or an empty text."""
    readers: dict[str, Callable[[str], Any]] = {
        "status": lambda _: _status(visit),
        "subscription": visit.query_uuid,
        **dict.fromkeys(("type", "account", "key"), visit.query),
        **dict.fromkeys(("since", "until"), visit.query_time),
    }
    values: dict[str, Any] = {}
    problems = []
    for name, read in readers.items():
        try:
            values[name] = read(name)
        except PageError as error:
            problems.append(error.sentence)
    return Selection(**values), problems[0] if problems else ""


async def show(visit: Visit) -> Page | web.StreamResponse:
    """Show one delivery with its attempts."""
    id_ = visit.path_uuid("delivery")
    delivery = await delivery_lists.get(visit.connection, id_)
    if delivery is None:
        raise not_found(f"delivery {id_}")
    content = await delivery_lists.content(visit.connection, id_, LARGEST_READ)
    subscription = await subscription_lists.get(visit.connection, delivery.row["subscription_id"])
    if subscription is None:
        state = ("deleted", "off", "The subscription was deleted, so that nothing is sent for it.")
    else:
        state = words.subscription_state(
            enabled=subscription.enabled,
            disabled_at=subscription.disabled_at,
            disabled_reason=subscription.disabled_reason,
            paused_until=subscription.paused_until,
            now=datetime.now(UTC),
            is_configured=outbound.is_configured(visit.context.config, subscription.subscriber),
        )
    view = DeliveryView(
        line=line(delivery),
        event_id=delivery.row["event_id"],
        version=delivery.row["version"],
        replay_id=delivery.replay_id,
        meaning=words.meaning(delivery),
        waits=None if subscription is None else await _why_due(visit, delivery, subscription),
        subscription_word=state[0],
        subscription_kind=state[1],
        subscription_sentence=state[2],
        is_subscription_deleted=subscription is None,
        is_subscription_disabled=subscription is not None and not subscription.enabled,
        attempts=await delivery_lists.newest_attempts(visit.connection, id_),
        request=describe_request(delivery, None if subscription is None else subscription.dialect, content),
        refusal=_refusal(visit, delivery),
        may_act=visit.may_act,
    )
    return Page(template="delivery.html", view=view, title=f"Delivery of {words.short(delivery.row['key'], 80)}")


async def _why_due(visit: Visit, delivery: ListedDelivery, subscription: Settings) -> str | None:
    """Return why a delivery that is due is not sent at this moment; None if it is not due, or if that is not known."""
    next_attempt_at, now = delivery.row["next_attempt_at"], datetime.now(UTC)
    if next_attempt_at is None or next_attempt_at > now:
        return None
    backlog = await subscription_lists.backlog(visit.connection, subscription.id)
    return words.why_due(
        enabled=subscription.enabled,
        is_configured=outbound.is_configured(visit.context.config, subscription.subscriber),
        paused_until=subscription.paused_until,
        last=backlog.last,
        now=now,
    )


def line(delivery: ListedDelivery) -> DeliveryLine:
    """Return a delivery as the list shows it."""
    row = delivery.row
    return DeliveryLine(
        id=row["id"],
        status=words.word(row["status"], row["attempts"]),
        kind=words.kind(row["status"], row["attempts"]),
        type=row["type"],
        key=row["key"],
        document=delivery.document,
        account="–" if delivery.document is None else f"{delivery.document.platform}/{delivery.document.account}",
        subscriber=words.subscriber(delivery.subscriber),
        url=delivery.url or "–",
        subscription_id=row["subscription_id"],
        attempts=row["attempts"],
        next_attempt_at=row["next_attempt_at"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        error=words.error(delivery.last),
        enabled=delivery.enabled,
        paused_until=delivery.paused_until,
    )


def _refusal(visit: Visit, delivery: ListedDelivery) -> str | None:
    """Return why a delivery cannot be sent again, as `storage.deliveries.retry` checks it; None if it can."""
    if delivery.is_subscription_deleted or delivery.subscriber is None:
        return "its subscription has been deleted"
    if delivery.document is None:
        return "its event is older than what is kept"
    account = f"{delivery.document.platform}/{delivery.document.account}"
    return outbound.may_send(visit.context.config, delivery.subscriber, account)


async def _subscriptions(visit: Visit, chosen: UUID | None) -> list[Choice]:
    names = await subscription_lists.names(visit.connection, MOST_NAMES)
    choices = [
        Choice(value=str(row.id), label=f"{words.subscriber(row.subscriber)} {words.short(row.url, 60)}")
        for row in names
    ]
    if chosen is not None and all(choice.value != str(chosen) for choice in choices):
        choices.append(Choice(value=str(chosen), label=str(chosen)))
    return choices


def _status(visit: Visit) -> Status | None:
    status: Any = visit.query_choice("status", get_args(Status))
    return status  # type: ignore[no-any-return]


def _given(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def _text(value: object) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


ROUTES = (page(PATH, show_list), page(f"{PATH}/{{id}}", show))
