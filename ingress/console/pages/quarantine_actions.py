"""Replaying and discarding quarantined messages: one at once, several or all that match after a confirmation."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from aiohttp import web

from broker.connection import REMOTE_ERRORS
from broker.outgoing import BrokerUnavailableError
from ingress import quarantine as publishing
from ingress.console import confirm, many, notices
from ingress.console.confirm import Button, Confirmation
from ingress.console.delivery_words import isolated
from ingress.console.errors import PageError, invalid, not_found
from ingress.console.many import Request
from ingress.console.render import plural, size
from ingress.console.route import act
from ingress.console.visit import Page, Visit, see_other
from storage import bulk, quarantine, quarantine_lists
from storage.jobs import Filter
from storage.quarantine import STAGES, Counted, Selection

LIST = "/console/quarantine"
REPLAY, DISCARD = f"{LIST}/replay", f"{LIST}/discard"
REPLAY_ACTION, DISCARD_ACTION = "quarantine.replay", "quarantine.discard"
REASON = 500
"""Characters of a reason that a confirmation shows."""

notices.NOTICES |= {
    "replayed": "It was published again.",
    "discarded": "It was taken off the list. Its bytes are kept.",
    "not_waiting": "It does not wait any more, so nothing was changed.",
}


async def replay(visit: Visit) -> Page | web.StreamResponse:
    """Publish messages again, as they were received."""
    if visit.context.amqp_url is None:
        raise PageError(
            409,
            "This console cannot replay messages",
            "It has no connection to RabbitMQ: set AMQP_URL for `crossdock console`, or use `crossdock quarantine "
            "replay`.",
        )
    if visit.field("all") == "1":
        return await _many(visit, REPLAY, None)
    if not (ids := many.ticked(visit)):
        return many.nothing_ticked(visit, LIST)
    return await (_replay_one(visit, ids[0], visit.context.amqp_url) if len(ids) == 1 else _many(visit, REPLAY, ids))


async def discard(visit: Visit) -> Page | web.StreamResponse:
    """Take messages off the list."""
    if visit.field("all") == "1":
        return await _many(visit, DISCARD, None)
    if not (ids := many.ticked(visit)):
        return many.nothing_ticked(visit, LIST)
    return await (_discard_one(visit, ids[0]) if len(ids) == 1 else _many(visit, DISCARD, ids))


async def _replay_one(visit: Visit, id_: UUID, amqp_url: str) -> Page | web.StreamResponse:
    message = await quarantine_lists.describe(visit.connection, id_)
    if message is None:
        raise not_found(f"message {id_} in quarantine")
    if message.erased_at is not None:
        return many.error_page(409, "This message cannot be replayed", "Its content was erased.")
    shards = visit.context.config.store.shards
    try:
        async with publishing.channel(amqp_url) as channel:
            published = await publishing.publish(visit.connection, channel, [id_], shards, again=True)
    except (BrokerUnavailableError, *REMOTE_ERRORS, TimeoutError) as error:
        return await _not_replayed(visit, id_, "RabbitMQ is unavailable", error)
    if id_ in published.refused:
        return await _not_replayed(visit, id_, "RabbitMQ did not take this message", published.refused[id_])
    await visit.record(REPLAY_ACTION, subject=str(id_), count=1)
    return see_other(notices.done(many.back(visit, f"{LIST}/{id_}"), "replayed"))


async def _not_replayed(visit: Visit, id_: UUID, title: str, error: Exception) -> Page:
    reason = str(error) or type(error).__name__
    await visit.record(REPLAY_ACTION, subject=str(id_), note=f"{title}: {reason}", outcome="failed")
    return many.error_page(409, title, f"The message is still on the list. The reason: {reason}.")


async def _discard_one(visit: Visit, id_: UUID) -> Page | web.StreamResponse:
    back = many.back(visit, f"{LIST}/{id_}")
    message = await quarantine_lists.describe(visit.connection, id_)
    if message is None:
        raise not_found(f"message {id_} in quarantine")
    if message.replayed_at is not None or message.discarded_at is not None:
        return see_other(notices.done(back, "not_waiting"))
    if visit.field("confirmed") != "1":
        return confirm.page(
            Confirmation(
                question="Discard this message?",
                what=(
                    f"It is the event {message.event} of {message.platform}/{message.account}, received "
                    f"{message.received_at:%Y-%m-%d %H:%M:%S} UTC, {size(message.bytes)}. It waits because of this: "
                    f"{isolated(message.reason[:REASON])}"
                ),
                consequence="It is taken off the list and not processed. Its bytes are kept, and it can be replayed.",
                action=DISCARD,
                fields=(("id", str(id_)), ("confirmed", "1"), ("back", back)),
                buttons=(Button(label="Discard it"),),
                back=back,
            )
        )
    if not await quarantine.discard_waiting(visit.connection, [id_]):
        return see_other(notices.done(back, "not_waiting"))
    await visit.record(DISCARD_ACTION, subject=str(id_), count=1, note=visit.field("note"))
    return see_other(notices.done(back, "discarded"))


async def _many(visit: Visit, path: str, ids: list[UUID] | None) -> Page | web.StreamResponse:
    """Act on the ticked messages, or on all that the filter in the form selects."""
    if (response := await many.started_before(visit)) is not None:
        return response
    fields: list[tuple[str, str]]
    if ids is not None:
        counted = Counted(count=len(ids), is_exact=True, first_at=None)
        filter_, fields, words = Filter(ids=ids), [("id", str(id_)) for id_ in ids], "the messages that are ticked"
    else:
        selection = await _selection(visit)
        counted = await quarantine.count(visit.connection, selection)
        filter_, fields, words = Filter(quarantine=selection), _fields(selection), selection.in_words()
    number = plural(counted.count, "message") if counted.is_exact else f"{counted.text} messages"
    since = f", the oldest received {counted.first_at:%Y-%m-%d %H:%M:%S} UTC" if counted.first_at else ""
    is_replay = path == REPLAY
    request = Request(
        kind="quarantine.replay" if is_replay else "quarantine.discard",
        path=path,
        question=f"Replay {number}?" if is_replay else f"Discard {number}?",
        what=f"{number[0].upper()}{number[1:]}: {words}{since}.",
        consequence=(
            "They are published again as received; what fails comes back here with its new reason. What comes in from "
            "now on is not among them."
            if is_replay
            else "They are taken off the list. Their bytes are kept."
        ),
        filter=filter_,
        fields=fields,
        count=counted.count,
        is_exact=counted.is_exact,
        subject=words if ids is None else f"{len(ids)} ticked messages",
        buttons=(Button(label=f"{'Replay' if is_replay else 'Discard'} {number}"),),
        back=many.back(visit, LIST),
    )
    return await many.confirm_or_start(visit, request)


def selection_from(stage: str | None, texts: Mapping[str, str | None], until: datetime | None = None) -> Selection:
    """Return a filter. `texts`: account, event, reason and same_reason, of which an account may have a platform."""
    platform, _, account = (texts["account"] or "").rpartition("/")
    return Selection(
        stage=stage,
        platform=platform or None,
        account=account or None,
        event=texts["event"],
        reason=texts["reason"],
        same_reason=texts["same_reason"],
        until=until,
    )


async def _selection(visit: Visit) -> Selection:
    """Return the filter in the form, frozen at its `until`, or now. Raises PageError: 400."""
    stage = visit.field("stage")
    if stage is not None and stage not in STAGES:
        raise invalid(f"The stage must be one of {', '.join(STAGES)}.")
    now = await bulk.now(visit.connection)
    until = visit.field_time("until")
    texts = {name: visit.field(name) for name in ("account", "event", "reason", "same_reason")}
    return selection_from(stage, texts, now if until is None else min(now, until))


def _fields(selection: Selection) -> list[tuple[str, str]]:
    """Return the hidden fields from which the same filter is read again."""
    texts = {
        "stage": selection.stage,
        "account": selection.whole_account,
        "event": selection.event,
        "reason": selection.reason,
        "same_reason": selection.same_reason,
        "until": None if selection.until is None else selection.until.isoformat(),
    }
    return [("all", "1"), *((name, text) for name, text in texts.items() if text is not None)]


ROUTES = (
    act(REPLAY, replay, REPLAY_ACTION),
    act(DISCARD, discard, DISCARD_ACTION),
)
