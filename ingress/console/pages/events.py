"""What came in: the newest accepted messages, and the bytes of one."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from aiohttp import hdrs, web

from ingress.console import links, paging
from ingress.console.errors import PageError, invalid, not_found
from ingress.console.paging import Query, Rows
from ingress.console.route import act, page
from ingress.console.visit import Page, Visit
from schemas import registry
from storage import receipts
from storage.database import plan_by_filters
from storage.receipts import FLAGS, Place, Receipt, Selection

PATH = "/console/events"
SHAPES = {"new": "good", "changed": "busy", "repeated": "off"}
"""The shape of what a message brought."""


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """One message as a row."""

    row: Receipt
    path: str
    """Path of its document's page."""
    shape: str
    flags: Sequence[str]


class EventsView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the list."""

    selection: Selection
    account: str | None
    """`platform/account`, as it was chosen."""
    query: Query
    rows: Rows[EventView]
    looked_back_to: datetime | None
    """Received before this time were not looked at; None if the list is full or has ended."""
    window: int
    """Number of messages that a filter looks through."""
    is_first: bool
    accounts: Sequence[str]
    types: Sequence[str]
    flags: Sequence[str]
    may_act: bool


async def show(visit: Visit) -> Page:
    """List messages, the newest first."""
    account = visit.query("account")
    platform, separator, name = (account or "").partition("/")
    if account is not None and not (platform and separator and name):
        raise invalid("`account` in the address must be a platform and an account, such as PLATFORM/ACCOUNT.")
    selection = Selection(
        platform=platform or None,
        account=name or None,
        type=visit.query("type"),
        flag=visit.query("flag"),
        since=visit.query_time("from"),
        until=visit.query_time("to"),
    )
    place = paging.place(visit.query("after"))
    after = None if place is None else Place(*place)
    await plan_by_filters(visit.connection)
    listed = await receipts.newest(visit.connection, selection, after=after, limit=paging.ROWS + 1)
    query = Query(
        {
            "account": account,
            "type": selection.type,
            "flag": selection.flag,
            "from": visit.query("from"),
            "to": visit.query("to"),
        }
    )
    rows = paging.page([_view(row) for row in listed.rows], lambda view: (view.row.received_at, view.row.message_id))
    if listed.looked_back_to is not None:
        rows = Rows(rows.rows, f"{listed.looked_back_to.received_at.isoformat()}~{listed.looked_back_to.message_id}")
    senders = [f"{platform}/{account}" for platform, account in await receipts.senders(visit.connection)]
    view = EventsView(
        selection=selection,
        account=account,
        query=query,
        rows=rows,
        looked_back_to=None if listed.looked_back_to is None else listed.looked_back_to.received_at,
        window=receipts.WINDOW,
        is_first=after is None,
        accounts=_choices(senders + _configured(visit), account),
        types=_choices(registry.event_types(), selection.type),
        flags=_choices(FLAGS, selection.flag),
        may_act=visit.may_act,
    )
    return Page(template="events.html", view=view, title="Events")


async def download(visit: Visit) -> web.Response:
    """Send the body of one message as a file, and record who took it."""
    message_id = visit.path_uuid("message")
    at = visit.field_time("at")
    if at is None:
        raise invalid("The form does not say when the message was received.")
    stored = await receipts.raw(visit.connection, at, message_id)
    if stored is None:
        raise not_found(f"message {message_id}")
    if "erased" in stored.flags:
        raise PageError(410, "The bytes of this message were erased", "On request or by age; they cannot be recovered.")
    await visit.record("events.download", subject=str(message_id), count=1)
    return web.Response(
        body=stored.raw,
        content_type="application/octet-stream",
        headers={hdrs.CONTENT_DISPOSITION: f'attachment; filename="{message_id}.bin"'},
    )


def _view(row: Receipt) -> EventView:
    return EventView(
        row=row,
        path=links.document(row.platform, row.account, row.type, row.key),
        shape=SHAPES[row.kind],
        flags=[flag.replace("_", " ") for flag in row.flags],
    )


def _configured(visit: Visit) -> list[str]:
    accounts = visit.context.config.accounts
    return [f"{platform}/{account}" for platform, names in accounts.items() for account in names]


def _choices(names: Sequence[str], selected: str | None) -> list[str]:
    """Return names to choose from, with the one that is chosen."""
    return sorted({*names[: 2 * receipts.SENDERS], *([] if selected is None else [selected])})


ROUTES = (page(PATH, show), act(f"{PATH}/{{id}}/raw", download, "events.download"))
