"""What is outstanding and what is late: transfers, and the lines of one that disagree."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate

import asyncpg
import msgspec

from ingress.console import links, paging
from ingress.console import progress as progress_of
from ingress.console.errors import PageError, invalid, not_found
from ingress.console.paging import Query, Rows
from ingress.console.progress import WIDTH, Bar, LineView, Part, bar, flag_sentences, flag_words, line_views
from ingress.console.route import page
from ingress.console.visit import Page, Visit
from schemas.lenient import normalized
from storage import progress, transfer_listing, transfers
from storage.database import plan_by_filters
from storage.transfer_listing import LATE, NEWEST, ONLY, STATES, LinkedDocument, Only, Place, Selection, TransferRow
from storage.transfers import Progress

PATH = "/console/transfers"
BEHIND = 5.0
"""Seconds behind what is stored above which the page says so."""
LINKED = 3
"""Maximum number of documents that a line links to."""
STATE_WORDS: Mapping[str, tuple[str, str]] = {
    "ordered": ("ordered", "neutral"),
    "in_transit": ("in transit", "busy"),
    "partly_received": ("partly received", "busy"),
    "received": ("received", "good"),
    "over_received": ("over-received", "warn"),
}
"""The word and the shape of each state."""
DOCUMENT_WORDS = {
    "advanced_ship_notice": "advance ship notice",
    "ship_confirmation": "shipment",
    "receipt_confirmation": "receipt",
}
"""What the documents of a transfer are called, by the last part of their type."""


class TransferView(msgspec.Struct, frozen=True, kw_only=True):
    """A transfer as a row."""

    row: TransferRow
    path: str
    document_path: str
    bar: Bar
    state: str
    shape: str
    late_seconds: float
    """Seconds since it was due; 0 if it is not late."""
    flags: Sequence[str]
    """What the flags mean, in few words."""


class StateView(msgspec.Struct, frozen=True, kw_only=True):
    """One state in the picture of all."""

    name: str
    word: str
    count: int
    part: Part
    query: str
    """The address's query that filters by it."""


class LateView(msgspec.Struct, frozen=True, kw_only=True):
    """An account with its late transfers."""

    account: str
    count: int
    query: str


class TransfersView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the list."""

    selection: Selection
    query: Query
    rows: Rows[TransferView]
    is_first: bool
    accounts: Sequence[str]
    states: Sequence[StateView]
    counted: int
    """Number of transfers that the picture shows."""
    is_newest_only: bool
    """Whether there are more than the picture shows."""
    late: Sequence[LateView]
    late_cap: int
    """Number up to which late transfers are counted."""
    progress: Progress
    is_behind: bool


class DocumentView(msgspec.Struct, frozen=True, kw_only=True):
    """A document of a transfer."""

    row: LinkedDocument
    word: str
    path: str
    remarks: Sequence[str]
    """What is wrong with it, in words."""


class OrderLineView(msgspec.Struct, frozen=True, kw_only=True):
    """A line with the documents that name it."""

    view: LineView
    documents: Sequence[DocumentView]
    more: int
    """Number of documents that name it and are not shown."""


class TransferPage(msgspec.Struct, frozen=True, kw_only=True):
    """What the page of one transfer shows."""

    transfer: TransferView
    sentences: Sequence[str]
    """What its documents disagree on."""
    lines: Sequence[OrderLineView] | None
    """None if its documents are too many to be added up while somebody waits."""
    disagreeing: int
    has_more_lines: bool
    documents: Sequence[DocumentView]
    has_more_documents: bool
    progress: Progress
    is_behind: bool


async def show(visit: Visit) -> Page:
    """List transfers, first what is late."""
    selection = Selection(
        account=visit.query("account"),
        location=visit.query("location"),
        state=next((state for state in STATES if state == visit.query_choice("state", STATES)), None),
        only=next((only for only in ONLY if only == visit.query_choice("only", ONLY)), None),
    )
    after = _place(visit.query("after"))
    await plan_by_filters(visit.connection)
    listed = await transfer_listing.listing(visit.connection, selection, after=after, limit=paging.ROWS + 1)
    counts = await transfer_listing.counts(visit.connection, selection)
    behind = await transfers.progress(visit.connection)
    query = Query({name: getattr(selection, name) for name in ("account", "location", "state", "only")})
    now = datetime.now(UTC)
    counted = sum(counts.states.values())
    view = TransfersView(
        selection=selection,
        query=query,
        rows=Rows([_view(row, now) for row in listed[: paging.ROWS]], _after(listed, selection.only)),
        is_first=after is None,
        accounts=_with_selected(sorted(counts.late), selection.account),
        states=_state_views(counts.states, query),
        counted=counted,
        is_newest_only=counted == NEWEST,
        late=[
            LateView(account=account, count=count, query=query(account=account, only="late", state=None))
            for account, count in sorted(counts.late.items())
            if count
        ],
        late_cap=LATE,
        progress=behind,
        is_behind=_is_behind(behind),
    )
    return Page(template="transfers.html", view=view, title="Transfers")


async def show_one(visit: Visit) -> Page:
    """Show the lines of one transfer, first those that disagree, and its documents."""
    key, account = normalized(visit.request.match_info["key"]), visit.query("account")
    rows = await transfer_listing.get(visit.connection, account, key)
    if not rows:
        raise not_found(f"transfer {key[:100]}" if account is None else f"transfer {key[:100]} of {account[:100]}")
    if len(rows) > 1:
        raise PageError(400, f"Several accounts have a transfer {key[:100]}", "Choose one in the list of transfers.")
    row = rows[0]
    lines = await _lines(visit, row)
    missing = None if lines is None else sum((progress_of.missing(line.line) for line in lines), Decimal(0))
    linked = await transfer_listing.documents(visit.connection, row.document_id)
    behind = await transfers.progress(visit.connection)
    documents = [_document_view(document) for document in linked]
    view = TransferPage(
        transfer=_view(row, datetime.now(UTC), missing),
        sentences=flag_sentences(row.flags),
        lines=None if lines is None else [_line_view(line, documents) for line in lines[: progress.LINES]],
        disagreeing=sum(bool(line.disagreements) for line in lines or ()),
        has_more_lines=lines is not None and len(lines) > progress.LINES,
        documents=documents,
        has_more_documents=len(documents) == transfer_listing.DOCUMENTS,
        progress=behind,
        is_behind=_is_behind(behind),
    )
    return Page(template="transfer.html", view=view, title=f"Transfer {row.channel_order_id}")


async def _lines(visit: Visit, row: TransferRow) -> list[LineView] | None:
    """Return the lines of a transfer, or None if adding them up takes too long."""
    try:
        async with visit.connection.transaction():
            lines = await progress.lines(visit.connection, row.account, row.channel_order_id)
    except asyncpg.QueryCanceledError:
        return None
    return line_views(lines)


def _view(row: TransferRow, now: datetime, missing: Decimal | None = None) -> TransferView:
    """Return a transfer as a row. `missing`: as its lines have it; None if they were not read."""
    word, shape = STATE_WORDS[row.state]
    if missing is None and "short" in row.flags:
        missing = max(row.shipped, row.announced) - row.received
    return TransferView(
        row=row,
        path=links.transfer(row.account, row.channel_order_id),
        document_path=links.document(row.platform, row.account, row.type, row.channel_order_id),
        bar=bar(row.ordered, row.shipped, row.announced, row.received, row.damaged, missing or Decimal(0)),
        state=word,
        shape=shape,
        late_seconds=(now - row.due_at).total_seconds() if row.late and row.due_at is not None else 0.0,
        flags=flag_words(row.flags),
    )


def _line_view(line: LineView, documents: Sequence[DocumentView]) -> OrderLineView:
    """Return a line with its newest documents, of which as many as LINKED are shown."""
    names = {line.line.line_id, line.line.sku} - {None}
    naming = [document for document in documents if not names.isdisjoint(document.row.names)]
    return OrderLineView(view=line, documents=naming[:LINKED], more=len(naming[LINKED:]))


def _document_view(row: LinkedDocument) -> DocumentView:
    flags = {"direction_flipped": row.is_flipped, "short": row.is_short}
    flags |= dict.fromkeys(row.flags, True)
    kind = row.type.rpartition(".")[2]
    return DocumentView(
        row=row,
        word=DOCUMENT_WORDS.get(kind, kind.replace("_", " ")),
        path=links.document(row.platform, row.account, row.type, row.key),
        remarks=flag_words([flag for flag, is_set in flags.items() if is_set]),
    )


def _state_views(counts: Mapping[str, int], query: Query) -> list[StateView]:
    """Return the states that any transfer is in, side by side in one bar."""
    whole = sum(counts.values()) or 1
    ends = list(accumulate((counts.get(state, 0) for state in STATES), initial=0))
    return [
        StateView(
            name=state,
            word=STATE_WORDS[state][0],
            count=count,
            part=Part(kind=state, x=round(begin * WIDTH / whole, 2), width=round(count * WIDTH / whole, 2)),
            query=query(state=state, only=None),
        )
        for state, begin in zip(STATES, ends, strict=False)
        if (count := counts.get(state, 0))
    ]


def _is_behind(behind: Progress) -> bool:
    return behind.behind_seconds > BEHIND or behind.filled < 1


def _with_selected(names: Sequence[str], selected: str | None) -> list[str]:
    """Return names to choose from, with the one that is chosen."""
    return [*names, *([] if selected is None or selected in names else [selected])]


def _after(rows: Sequence[TransferRow], only: Only | None) -> str | None:
    if len(rows) <= paging.ROWS:
        return None
    place = transfer_listing.place_of(rows[paging.ROWS - 1], only)
    return f"{'late' if place.is_late else 'other'}~{place.at.isoformat()}~{place.document_id}"


def _place(text: str | None) -> Place | None:
    """Return the place that `after` stands for. Raises PageError: 400."""
    if text is None:
        return None
    kind, _, rest = text.partition("~")
    place = paging.numbered_place(rest)
    if kind not in ("late", "other") or place is None:
        raise invalid("`after` in the address is not a place in this list: start the list anew.")
    return Place(kind == "late", *place)


ROUTES = (page(PATH, show), page(PATH + "/{key:[^/]+}", show_one))
