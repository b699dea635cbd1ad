"""One document as the console shows it: its history, deliveries, lines, relations and bytes, each part bounded."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

import msgspec

from schemas import invisible
from schemas.lenient import normalized
from storage import find
from storage.database import Connection
from storage.find import QuarantineMatch
from storage.sql import query
from storage.timeline import Attempt, Document, QuarantinedMessage, Receipt, Record, Version

NEWEST = 500
"""Maximum receipts, versions, allocation records and lines that are read of a document."""
DELIVERIES = 200
"""Maximum deliveries that are read of a document."""
ATTEMPTS = 20
"""Maximum attempts that are read of a delivery."""
ANSWER = 200
"""Maximum bytes that are read of the answer to an attempt."""
RELATED = 100
"""Maximum related documents that are read."""
QUARANTINED = 1000
"""Number of newest quarantined messages whose bytes are searched."""
QUARANTINED_BYTES = 64 * 1024 * 1024
"""Maximum bytes of quarantined messages that are searched."""

T = TypeVar("T")


class DocumentRow(msgspec.Struct, frozen=True, kw_only=True):
    """A document, with the numbers of what it belongs to."""

    id: int
    platform: str
    account: str
    type: str
    key: str
    order_number: str | None
    order_ref: str | None
    warehouse_ref: str | None
    version: int
    erased: bool
    """Whether the content of the newest version was erased."""
    received_at: datetime
    last_received_at: datetime
    is_being_erased: bool
    """Whether an erasure that covers it has been requested and has not finished."""
    late_since: datetime | None
    """When the transfer that it belongs to was due; None if it is not late."""


class StoredVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version, without its content."""

    id: UUID
    version: int
    received_at: datetime
    stored_at: datetime
    times_received: int
    last_received_at: datetime
    flags: list[str]
    message_id: UUID


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What was received and stored of a document, and what was answered; each list has the newest, the oldest first."""

    receipts: list[Receipt]
    versions: list[StoredVersion]
    records: list[Record]
    quarantined: list[QuarantinedMessage] = []
    """Those of its messages that could not be processed at first."""


class SentAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt of a delivery."""

    at: datetime
    attempt: int
    outcome: str
    status_code: int | None
    duration_ms: float
    error: str | None
    response: bytes = b""
    """The first ANSWER bytes of the answer."""

    @property
    def answer(self) -> str:
        """The beginning of the answer as text on one line; empty if there is none."""
        return " ".join(self.response.decode("utf-8", "replace").split())


class SentDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery of a document, its newest attempts, and the subscription that it goes to."""

    id: UUID
    subscription_id: UUID
    event_id: UUID
    type: str
    version: int
    status: str
    times_attempted: int
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    subscriber: str | None
    url: str | None
    """The URL without its query."""
    dialect: str | None
    is_enabled: bool
    is_deleted: bool
    disabled_reason: str | None
    paused_until: datetime | None
    attempts: list[SentAttempt]


class OrderLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an order, as in the view `orders`."""

    line: str | None
    article: str | None
    name: str | None
    quantity: Decimal | None
    cancelled: Decimal | None
    unit_price: Decimal | None
    total: Decimal | None


class RelatedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document of the same order or transfer."""

    id: int
    platform: str
    account: str
    type: str
    key: str
    version: int
    received_at: datetime
    last_received_at: datetime


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of a version as they were first received."""

    version: int
    id: UUID
    event: str
    content_type: str | None
    received_at: datetime
    message_id: UUID
    size: int
    """The number of bytes received."""
    raw: bytes | None
    """None if there are more bytes than were asked for."""
    is_erased: bool


async def by_id(connection: Connection, id_: int) -> DocumentRow | None:
    """Return a document by its number, or None. Raises asyncpg's errors."""
    row = await connection.fetchrow(query("document", "by_id"), id_)
    return None if row is None else DocumentRow(**row)


async def by_identity(connection: Connection, platform: str, account: str, type_: str, key: str) -> DocumentRow | None:
    """Return a document by its key, which is compared as stored keys are, or None. Raises asyncpg's errors."""
    row = await connection.fetchrow(query("document", "by_identity"), platform, account, type_, normalized(key))
    return None if row is None else DocumentRow(**row)


async def history(connection: Connection, document_id: int) -> History:
    """Return what was received and stored of a document, at most NEWEST of each. Raises asyncpg's errors."""
    row = await connection.fetchrow(query("document", "history"), document_id, NEWEST)
    assert row is not None
    return History(
        receipts=_decoded(row["receipts"], list[Receipt]),
        versions=_decoded(row["versions"], list[StoredVersion]),
        records=_decoded(row["records"], list[Record]),
        quarantined=_decoded(row["quarantined"], list[QuarantinedMessage]),
    )


async def deliveries(connection: Connection, document_id: int) -> list[SentDelivery]:
    """Return the newest deliveries of a document, the newest first, at most DELIVERIES. Raises asyncpg's errors."""
    rows = await connection.fetch(query("document", "deliveries"), document_id, DELIVERIES, ATTEMPTS, ANSWER)
    return [SentDelivery(**{**row, "attempts": _decoded(row["attempts"], list[SentAttempt])}) for row in rows]


async def lines(connection: Connection, document: DocumentRow) -> list[OrderLine]:
    """Return the lines of an order; none of a document that is not an order. Raises asyncpg's errors."""
    identity = document.platform, document.account, document.type, document.key
    rows = await connection.fetch(query("document", "lines"), *identity, NEWEST)
    return [OrderLine(**row) for row in rows]


async def related(connection: Connection, document: DocumentRow) -> list[RelatedDocument]:
    """Return documents of the same order or transfer, the newest first, at most RELATED. Raises asyncpg's errors."""
    rows = await connection.fetch(
        query("document", "related"),
        document.id,
        document.platform,
        document.account,
        document.key,
        document.order_ref or document.key,
        document.warehouse_ref,
        document.order_number,
        RELATED,
    )
    return [RelatedDocument(**row) for row in rows]


async def contents(
    connection: Connection, document_id: int, versions: Sequence[int], max_bytes: int
) -> dict[int, Content]:
    """Return the bytes of these versions, by version. Raises asyncpg's errors."""
    rows = await connection.fetch(query("document", "contents"), document_id, list(versions), max_bytes, len(versions))
    return {row["version"]: Content(**row) for row in rows}


async def quarantined(connection: Connection, text: str) -> list[QuarantineMatch]:
    """Return quarantined messages whose bytes contain a text, among the newest QUARANTINED. Raises asyncpg's errors."""
    name, written = find.normalized(text), invisible.trimmed(text)
    if not name:
        return []
    rows = await connection.fetch(query("document", "quarantined"), name, written, QUARANTINED, QUARANTINED_BYTES)
    return [QuarantineMatch(**row) for row in rows]


def life(document: DocumentRow, past: History, sent: Sequence[SentDelivery]) -> Document:
    """Return a document as `storage.timeline` takes it."""
    return Document(
        platform=document.platform,
        account=document.account,
        type=document.type,
        key=document.key,
        receipts=past.receipts,
        versions=[
            Version(version.id, version.version, version.stored_at, version.times_received, version.flags)
            for version in past.versions
        ],
        records=past.records,
        deliveries=[attempt for delivery in sent for attempt in _attempts(delivery)],
    )


def _attempts(delivery: SentDelivery) -> list[Attempt]:
    """Return the attempts of a delivery, or the delivery itself if it waits for its first attempt."""
    whole = Attempt(delivery.id, delivery.url, delivery.dialect, delivery.status, delivery.created_at)
    return [
        Attempt(
            delivery.id,
            delivery.url,
            delivery.dialect,
            delivery.status,
            delivery.created_at,
            attempt.at,
            attempt.attempt,
            attempt.outcome,
            attempt.status_code,
            attempt.duration_ms,
            attempt.error,
        )
        for attempt in delivery.attempts
    ] or [whole]


def _decoded(text: str, shape: type[T]) -> T:
    return msgspec.json.decode(text, type=shape)
