"""Replays to a subscription: the events of a period, counted, confirmed, sent again, and stopped."""

from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import msgspec
from aiohttp import web

from ingress import outbound
from ingress.console import confirm, notices
from ingress.console import delivery_words as words
from ingress.console.confirm import Button, Confirmation
from ingress.console.errors import PageError, invalid, not_found
from ingress.console.pages.subscriptions import PATH, page_of
from ingress.console.render import plural
from ingress.console.route import act
from ingress.console.visit import Page, Visit, see_other
from schemas import selection
from storage import replays, subscriptions
from storage.replays import Counted, Scope
from storage.subscriptions import Subscription

MOST_REPLAYS = 1000
"""Number of newest replays of a subscription among which the one to stop is looked for."""
DISABLED = "The subscription is disabled: what this writes waits, and is sent only after it is enabled. "
notices.NOTICES |= {
    "replaying": "{count} events are sent again, as fast as the limits of the subscription allow.",
    "replaying_many": "The events are sent again, as fast as the limits of the subscription allow.",
    "replay_stopped": "The replay is stopped. Deliveries of it that were cancelled: {count}.",
    "replay_empty": "No stored event matches, so that nothing is sent again.",
}


class ReplayForm(msgspec.Struct, frozen=True, kw_only=True):
    """What to send again."""

    begin: datetime
    end: datetime
    types: list[str]
    """Patterns; empty for all that the subscription receives."""
    key: str | None

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The form as hidden fields."""
        fields = [("from", self.begin.isoformat()), ("to", self.end.isoformat()), ("types", " ".join(self.types))]
        return [*fields, ("key", self.key or "")]


async def replay(visit: Visit) -> Page | web.StreamResponse:
    """Count what would be sent again and ask, and then start it. Sent twice, the form starts one replay."""
    subscription = await _existing(visit)
    try:
        form = _replay_form(visit)
        scope = _scope(visit, subscription, form)
    except PageError as error:
        if error.status != 400:
            raise
        return await page_of(visit, error.sentence, visit.entered("from", "to", "types", "key"))
    counted = await _counted(visit, scope, form)
    back = f"{PATH}/{subscription.id}"
    if counted is not None and counted.is_exact and not counted.count:
        return see_other(notices.done(back, "replay_empty"))
    id_ = visit.field_uuid("replay")
    expected, typed = visit.field("expected"), visit.field("typed")
    if id_ is None or typed != expected:
        return confirm.page(_replay_confirmation(subscription, form, counted, is_mistyped=id_ is not None))
    count = counted.count if counted is not None else 0
    # The row is locked this late because the deliver workers cannot lease the subscription while it is locked.
    await _existing(visit, share=True)
    if await replays.progress(visit.connection, id_) is None:
        await replays.create(
            visit.connection,
            subscription.id,
            types=scope.types,
            begin=form.begin,
            end=form.end,
            key=form.key,
            count=count,
            id_=id_,
        )
        await visit.record("subscriptions.replay", subject=str(subscription.id), count=count, note=visit.field("note"))
    is_exact = counted is not None and counted.is_exact
    return see_other(notices.done(back, "replaying" if is_exact else "replaying_many", count))


async def stop_replay(visit: Visit) -> Page | web.StreamResponse:
    """Stop a replay of a subscription."""
    subscription = await _existing(visit)
    id_ = visit.field_uuid("replay")
    owned = [row.id for row in await replays.listing(visit.connection, subscription.id, MOST_REPLAYS)]
    cancelled = None if id_ is None or id_ not in owned else await replays.stop(visit.connection, id_)
    if cancelled is None:
        raise not_found(f"replay {id_} of this subscription")
    await visit.record("replays.stop", subject=str(id_), count=cancelled)
    return see_other(notices.done(f"{PATH}/{subscription.id}", "replay_stopped", cancelled))


def _replay_confirmation(
    subscription: Subscription, form: ReplayForm, counted: Counted | None, *, is_mistyped: bool
) -> Confirmation:
    exact = counted is not None and counted.is_exact
    number = 0 if counted is None else counted.count
    if counted is None:
        how_many = "An unknown number of events"
    else:
        how_many = f"{'' if exact else 'More than '}{plural(number, 'event')}"
    typed = "" if counted is None else confirm.typed_for(number, is_exact=exact)
    mistyped = f"What was typed is not {typed}. " if is_mistyped else ""
    whose = words.subscriber(subscription.subscriber)
    which = f", only {', '.join(form.types)}" if form.types else ""
    of_key = f", only those of {words.short(form.key, 80)}" if form.key else ""
    disabled = "" if subscription.enabled else DISABLED
    return Confirmation(
        question=f"Send {how_many.lower()} again?",
        what=(
            f"{mistyped}{how_many}, received from {form.begin:%Y-%m-%d %H:%M:%S} to {form.end:%Y-%m-%d %H:%M:%S} "
            f"UTC{which}{of_key}, to {whose} at {subscription.url.partition('?')[0]}."
        ),
        consequence=(
            f"{disabled}Each event becomes a delivery of its own, whether it was delivered before or not. The limits "
            "of the subscription hold, and the replay can be stopped on its page."
        ),
        action=f"{PATH}/{subscription.id}/replay",
        fields=[*form.fields, ("replay", str(uuid4())), *([("expected", typed)] if typed else [])],
        buttons=(Button(label="Send them again"),),
        typed=typed,
        back=f"{PATH}/{subscription.id}",
    )


def _replay_form(visit: Visit) -> ReplayForm:
    begin, end = visit.field_time("from"), visit.field_time("to") or datetime.now(UTC)
    if begin is None:
        raise invalid("Enter from when events are sent again, such as 2026-11-21 09:30 (UTC).")
    if end <= begin:
        raise invalid("The end of the period must be after its beginning.")
    types = (visit.field("types") or "").replace(",", " ").split()
    for pattern in types:
        if (problem := selection.type_problem(pattern)) is not None:
            raise invalid(f"{problem}.")
    return ReplayForm(begin=begin, end=end, types=types, key=visit.field("key"))


def _scope(visit: Visit, subscription: Subscription, form: ReplayForm) -> Scope:
    """Return which events the subscription receives, narrowed to the types of the form. Raises PageError."""
    config = visit.context.config
    if not outbound.is_configured(config, subscription.subscriber):
        raise PageError(
            409,
            "Nothing would be sent",
            f"The configuration has no subscriber {subscription.subscriber} any more.",
        )
    scope = outbound.scope_of(config, subscription)
    if not form.types:
        return scope
    types = replays.narrowed(scope.types, form.types)
    if types is None:
        raise invalid(f"The types must be among those of the subscription: {', '.join(subscription.types)}.")
    return msgspec.structs.replace(scope, types=types)


async def _counted(visit: Visit, scope: Scope, form: ReplayForm) -> Counted | None:
    """Return how many events would be sent again; None if counting took too long, which does not forbid a replay."""
    try:
        async with visit.connection.transaction():
            await visit.connection.execute("SET LOCAL statement_timeout = '2s'")
            return await replays.count(visit.connection, scope, begin=form.begin, end=form.end, key=form.key)
    except asyncpg.QueryCanceledError:
        return None


async def _existing(visit: Visit, *, share: bool = False) -> Subscription:
    """Return the subscription of the path. `share`: it does not change until the action ends. Raises PageError: 404."""
    id_ = visit.path_uuid("subscription")
    subscription = await subscriptions.get(visit.connection, id_, None, share=share)
    if subscription is None:
        raise not_found(f"subscription {id_}")
    return subscription


ROUTES = (
    act(f"{PATH}/{{id}}/replay", replay, "subscriptions.replay"),
    act(f"{PATH}/{{id}}/replays/stop", stop_replay, "replays.stop"),
)
