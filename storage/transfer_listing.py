"""Lists transfers: first the late ones, the longest first, then the others, the newest activity first."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from storage.database import Connection
from storage.sql import query

State = Literal["ordered", "in_transit", "partly_received", "received", "over_received"]
STATES: tuple[State, ...] = ("ordered", "in_transit", "partly_received", "received", "over_received")
"""States in the order in which a transfer passes through them."""
COMPLETE: tuple[State, ...] = ("received", "over_received")
"""States in which no line lacks anything, so that the transfer cannot be late."""
Only = Literal["late", "outstanding", "disagreements"]
ONLY: tuple[Only, ...] = ("late", "outstanding", "disagreements")
ACCOUNTS = 200
"""Maximum number of accounts that a page offers."""
LATE = 1000
"""Number of late transfers of an account up to which they are counted."""
NEWEST = 1000
"""Number of transfers whose states are counted."""
DOCUMENTS = 200
"""Maximum number of documents of a transfer that are read."""
NAMES = 200
"""Maximum number of lines of a document whose names are read."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A selection of transfers; None matches any value."""

    account: str | None = None
    location: str | None = None
    """Where the goods come from or go to."""
    state: State | None = None
    only: Only | None = None
    """`outstanding`: a line lacks something, whether it is late or not. `disagreements`: it has flags, late or not;
    these are sorted by their activity alone."""


class TransferRow(msgspec.Struct, frozen=True, kw_only=True):
    """One stock transfer order, as in the view `transfers`."""

    document_id: int
    platform: str
    account: str
    type: str
    channel_order_id: str
    purchase_order_number: str | None
    ship_from: str | None
    ship_to: str | None
    ordered: Decimal
    shipped: Decimal
    announced: Decimal
    received: Decimal
    damaged: Decimal
    outstanding: Decimal
    cartons: int
    state: State
    due_at: datetime | None
    late: bool
    placed_at: str | None
    last_activity_at: datetime
    flags: Sequence[str]


class Place(msgspec.Struct, frozen=True):
    """Where the next page of a list starts."""

    is_late: bool
    """Whether it is among the late ones, which come first."""
    at: datetime
    document_id: int


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers about transfers, of bounded parts of them."""

    late: Mapping[str, int]
    """Late ones of every account that has transfers; one more than LATE stands for any larger number."""
    states: Mapping[str, int]
    """The selected ones by state, of the NEWEST with the newest activity."""


class LinkedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A shipment, notice or receipt of a transfer, in its newest version."""

    id: int
    platform: str
    account: str
    type: str
    key: str
    version: int
    received_at: datetime
    last_received_at: datetime
    is_flipped: bool
    """Whether its locations are those of the order the other way round."""
    flags: Sequence[str]
    names: Sequence[str]
    """What its lines are called: their ids and articles."""
    is_short: bool
    """Whether it says that less arrived than it names."""


async def listing(
    connection: Connection, selection: Selection, *, after: Place | None = None, limit: int
) -> list[TransferRow]:
    """Return transfers in the order of this module, starting after a place. Raises asyncpg's errors."""
    filters = (selection.account, selection.location, selection.state)
    if selection.only == "disagreements":
        place = (None, None) if after is None else (after.at, after.document_id)
        records = await connection.fetch(query("transfer_listing", "disagreements"), *filters, *place, limit)
        return [TransferRow(**record) for record in records]
    rows: list[TransferRow] = []
    if selection.state not in COMPLETE and (after is None or after.is_late):
        place = (None, None) if after is None else (after.at, after.document_id)
        records = await connection.fetch(query("transfer_listing", "late"), *filters, *place, limit)
        rows = [TransferRow(**record) for record in records]
    if len(rows) < limit and selection.only != "late":
        place = (None, None) if after is None or after.is_late else (after.at, after.document_id)
        others = query("transfer_listing", "others")
        is_outstanding = selection.only == "outstanding"
        records = await connection.fetch(others, *filters, *place, limit - len(rows), is_outstanding)
        rows += [TransferRow(**record) for record in records]
    return rows


def place_of(row: TransferRow, only: Only | None = None) -> Place:
    """Return the place after a row of a list of `only` these transfers."""
    if only != "disagreements" and row.late and row.due_at is not None:
        return Place(True, row.due_at, row.document_id)
    return Place(False, row.last_activity_at, row.document_id)


async def get(connection: Connection, account: str | None, channel_order_id: str) -> list[TransferRow]:
    """Return the transfer of an order: none, one, or two if several accounts have it. Raises asyncpg's errors."""
    rows = await connection.fetch(query("transfer_listing", "get"), account, channel_order_id)
    return [TransferRow(**row) for row in rows]


async def counts(connection: Connection, selection: Selection) -> Counts:
    """Return numbers about transfers; of the selection, only the account and the location count.

    Raises asyncpg's errors.
    """
    rows = await connection.fetch(
        query("transfer_listing", "counts"), selection.account, selection.location, ACCOUNTS, LATE + 1, NEWEST
    )
    return Counts(
        late={row["name"]: row["transfers"] for row in rows if row["kind"] == "account"},
        states={row["name"]: row["transfers"] for row in rows if row["kind"] == "state"},
    )


async def documents(connection: Connection, document_id: int) -> list[LinkedDocument]:
    """Return the documents of a transfer order, the newest first, at most DOCUMENTS. Raises asyncpg's errors."""
    rows = await connection.fetch(query("transfer_listing", "documents"), document_id, DOCUMENTS, NAMES)
    return [LinkedDocument(**row) for row in rows]
