"""Quarantine: authentic messages that could not be processed, in groups and in rows, and one of them with its body."""

import re
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from aiohttp import hdrs, web

from ingress.console import links, paging
from ingress.console.errors import not_found
from ingress.console.excerpt import MOST_SHOWN, Excerpt, excerpt
from ingress.console.pages.quarantine_actions import DISCARD_ACTION, LIST, REPLAY_ACTION, selection_from
from ingress.console.paging import Rows
from ingress.console.route import act, page
from ingress.console.visit import Page, Visit
from storage import quarantine_lists
from storage.quarantine import STAGES
from storage.quarantine_lists import GROUPED, MOST_GROUPED, ActedOn, Details, Groups, LastGood, Message, StoredAs

DEALT_WITH = "dealt with"
STATES = ("waiting", DEALT_WITH)
MORE = "more"
"""Value of the parameter `groups` with which more messages are grouped."""
_OFFSET = re.compile(r"\bbyte (\d{1,12})\b")


class QuarantineView(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that wait for a person, or those that were dealt with."""

    groups: Groups | None
    """None where a filter or a later page is shown."""
    rows: Rows[Message]
    back_to: datetime | None
    """Where looking ended before the page was full."""
    filters: dict[str, str]
    stages: Sequence[str] = STAGES
    states: Sequence[str] = STATES
    most_grouped: int = MOST_GROUPED
    may_act: bool
    has_broker: bool
    path: str
    """Where actions return to."""

    @property
    def is_waiting(self) -> bool:
        """Whether the messages wait, so that they can be acted on."""
        return self.filters.get("state") != DEALT_WITH

    @property
    def is_filtered(self) -> bool:
        """Whether a filter is set."""
        return any(name != "state" for name in self.filters)

    def query(self, **changes: str) -> str:
        """Return the filters for an address, with changes."""
        return urlencode(self.filters | changes)


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """One message, and what is known of it."""

    message: Details
    last_good: LastGood | None
    """The newest document that the same event led to."""
    offset: int | None
    """The byte that the reason names."""
    body: Excerpt | None
    """None until an operator asks for it."""
    by: str | None
    """Who replayed or discarded it; None if that is not known, or if it waits."""
    stored: StoredAs | None
    """The document that it was stored in after its replay."""
    came_back: ActedOn | None
    """The replay after which it failed again."""
    actions: Sequence[ActedOn]
    most_shown: int = MOST_SHOWN
    may_act: bool
    has_broker: bool

    @property
    def is_waiting(self) -> bool:
        """Whether it was neither replayed nor discarded."""
        return self.message.replayed_at is None and self.message.discarded_at is None

    @property
    def document(self) -> str | None:
        """Where the document that it was stored in is shown."""
        stored = self.stored
        return None if stored is None else links.document(stored.platform, stored.account, stored.type, stored.key)


async def show_list(visit: Visit) -> Page | web.StreamResponse:
    """Show the messages that wait, grouped and in rows."""
    state = visit.query_choice("state", STATES)
    stage = visit.query_choice("stage", STAGES)
    texts = {name: visit.query(name) for name in ("account", "event", "reason", "same_reason")}
    selection = selection_from(stage, texts)
    before = paging.place(visit.query("after"))
    listing = await quarantine_lists.listing(
        visit.connection, selection, waiting=state != DEALT_WITH, before=before, limit=paging.ROWS + 1
    )
    filters = {name: text for name, text in {"state": state, "stage": stage, **texts}.items() if text}
    is_start = not filters and before is None
    grouped = MOST_GROUPED if visit.query_choice("groups", (MORE,)) == MORE else GROUPED
    view = QuarantineView(
        groups=await quarantine_lists.groups(visit.connection, grouped) if is_start else None,
        rows=paging.page(listing.rows, lambda message: (message.received_at, message.id)),
        back_to=listing.back_to,
        filters=filters,
        may_act=visit.may_act,
        has_broker=visit.context.amqp_url is not None,
        path=f"{LIST}?{urlencode(filters)}" if filters else LIST,
    )
    return Page(template="quarantine.html", view=view, title="Quarantine")


async def show_message(visit: Visit) -> Page | web.StreamResponse:
    """Show one message without its body."""
    return await _message_page(visit, visit.path_uuid("message in quarantine"), with_body=False)


async def show_body(visit: Visit) -> Page | web.StreamResponse:
    """Show one message with its body, which may hold personal data, and record that it was shown."""
    id_ = visit.path_uuid("message in quarantine")
    answer = await _message_page(visit, id_, with_body=True)
    await visit.record("quarantine.unmask", subject=str(id_))
    return answer


async def download(visit: Visit) -> Page | web.StreamResponse:
    """Send the bytes of one message as a file, and record it."""
    id_ = visit.path_uuid("message in quarantine")
    await _details(visit, id_)
    raw = await quarantine_lists.raw(visit.connection, id_)
    await visit.record("quarantine.download", subject=str(id_))
    disposition = f'attachment; filename="quarantine-{id_}.bin"'
    return web.Response(
        body=raw, content_type="application/octet-stream", headers={hdrs.CONTENT_DISPOSITION: disposition}
    )


async def _message_page(visit: Visit, id_: UUID, *, with_body: bool) -> Page:
    message = await _details(visit, id_)
    match = _OFFSET.search(message.reason)
    offset = int(match[1]) if match and int(match[1]) <= message.bytes else None
    body = None
    if with_body:
        start = 0 if offset is None or offset < MOST_SHOWN else offset - MOST_SHOWN // 2
        raw = await quarantine_lists.raw(visit.connection, id_, start=start, size=MOST_SHOWN)
        body = excerpt(raw, start=start, size=message.bytes, offset=offset)
    actions = await quarantine_lists.acted_on(visit.connection, id_, message.stored_at)
    replays = [action for action in actions if action.action == REPLAY_ACTION and action.outcome == "done"]
    is_waiting = message.replayed_at is None and message.discarded_at is None
    stored = None
    if message.is_replayed:
        stored = await quarantine_lists.stored_as(visit.connection, id_, message.received_at)
    view = MessageView(
        message=message,
        last_good=await quarantine_lists.last_good(visit.connection, message.platform, message.account, message.event),
        offset=offset,
        body=body,
        by=None if is_waiting else await _who(visit, message, actions),
        stored=stored,
        came_back=replays[0] if replays and is_waiting else None,
        actions=actions,
        may_act=visit.may_act,
        has_broker=visit.context.amqp_url is not None,
    )
    template = "quarantine_message.html" if body is None else "quarantine_body.html"
    return Page(template=template, view=view, title="Message in quarantine")


async def _who(visit: Visit, message: Details, actions: Sequence[ActedOn]) -> str | None:
    """Return who replayed or discarded a message: the action is recorded in the same transaction, or by a job."""
    at = message.replayed_at if message.is_replayed else message.discarded_at
    assert at is not None
    for action in actions:
        if action.at == at:
            return action.operator
    return await quarantine_lists.job_of(visit.connection, at, REPLAY_ACTION if message.is_replayed else DISCARD_ACTION)


async def _details(visit: Visit, id_: UUID) -> Details:
    message = await quarantine_lists.describe(visit.connection, id_)
    if message is None:
        raise not_found(f"message {id_} in quarantine")
    return message


ROUTES = (
    page(LIST, show_list),
    page(f"{LIST}/{{id}}", show_message),
    act(f"{LIST}/{{id}}/show", show_body, "quarantine.unmask"),
    act(f"{LIST}/{{id}}/raw", download, "quarantine.download"),
)
