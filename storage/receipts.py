"""What came in: accepted messages, the newest first, and the bytes of one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec

from storage.database import Connection
from storage.sql import query

WINDOW = 1_000
"""Number of receipts that a filter looks through at once."""
SENDERS = 200
"""Maximum number of accounts that a page offers."""
FLAGS = (
    "byte_order_mark",
    "clock_ahead",
    "erased",
    "invalid_unicode",
    "not_json",
    "not_jsonb",
    "repaired_json",
    "repeat_suspected",
    "revised",
    "shortened",
    "transcoded",
    "unreadable_date",
    "unreadable_number",
)
"""Flags of receipts and of the versions that they begin (docs/data.md)."""

Kind = Literal["new", "changed", "repeated"]


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A selection of receipts; None matches any value."""

    platform: str | None = None
    account: str | None = None
    type: str | None = None
    flag: str | None = None
    since: datetime | None = None
    """Received at or after this time."""
    until: datetime | None = None
    """Received before this time."""

    @property
    def looks_through(self) -> bool:
        """Whether receipts must be looked through, because no index has what is selected."""
        return any(value is not None for value in (self.platform, self.account, self.type, self.flag))


class Place(NamedTuple):
    """Where the next page of the list starts."""

    received_at: datetime
    message_id: UUID


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted message, and the document that it belongs to."""

    received_at: datetime
    message_id: UUID
    document_id: int
    platform: str
    account: str
    type: str
    key: str
    version: int | None
    """The version that it began; None if it repeated one."""
    event_id: UUID | None
    flags: Sequence[str]
    size: int
    """Length of the body in bytes, as received."""

    @property
    def kind(self) -> Kind:
        """Whether it brought a new document, a changed one, or what was stored already."""
        return "repeated" if self.version is None else "new" if self.version == 1 else "changed"


class ReceiptList(NamedTuple):
    """A page of receipts."""

    rows: list[Receipt]
    looked_back_to: Place | None
    """The last receipt that the filter looked at, if older ones may match; None if the list is full or has ended."""


class Raw(NamedTuple):
    """The body of a message as received; it is empty if it was erased."""

    raw: bytes
    flags: Sequence[str]


async def newest(connection: Connection, selection: Selection, *, after: Place | None, limit: int) -> ReceiptList:
    """Return at most `limit` receipts before a place. Raises asyncpg's errors."""
    place = after or (None, None)
    span = (selection.since, selection.until)
    filters = (selection.platform, selection.account, selection.type, selection.flag)
    window = WINDOW if selection.looks_through else limit
    records = await connection.fetch(query("receipts", "newest"), *place, *span, *filters, window, limit)
    rows = [Receipt(**record) for record in records]
    if not selection.looks_through or len(rows) == limit:
        return ReceiptList(rows, None)
    last = await connection.fetchrow(query("receipts", "looked_back_to"), *place, *span, window)
    return ReceiptList(rows, None if last is None else Place(*last))


async def raw(connection: Connection, received_at: datetime, message_id: UUID) -> Raw | None:
    """Return the body of a message, or None if it is not stored. Raises asyncpg's errors."""
    row = await connection.fetchrow(query("receipts", "raw"), received_at, message_id)
    return None if row is None else Raw(row["raw"], row["flags"])


async def senders(connection: Connection) -> list[tuple[str, str]]:
    """Return platform and account of everybody who sent something in the last weeks. Raises asyncpg's errors."""
    rows = await connection.fetch(query("receipts", "senders"), SENDERS)
    return [(row["platform"], row["account"]) for row in rows]
