"""One look-up for every number that people have in their hands (contract §10).

The command line and the API show the same result; `storage.trace` starts from the same documents.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import asyncpg
import msgspec

from schemas import lenient
from schemas.values import value_problem
from storage import identifiers
from storage.database import Connection
from storage.sql import query

LIMIT = 50
"""Maximum documents that have the text as a number, and maximum that have it as an article: the newest."""

# asyncpg sends these as -infinity and infinity.
_EVER = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
_NEAR = (timedelta(seconds=2), timedelta(days=1))
"""Differences between the creation time in a message's id and its time of receipt: usual, and possible."""
_NUMBER, _ARTICLE = "number", "article"

T = TypeVar("T", bound=msgspec.Struct)


class DocumentMatch(msgspec.Struct, frozen=True):
    """A document, with what is known of its newest version."""

    id: int
    """The number of its row."""
    platform: str
    account: str
    type: str
    key: str
    order_number: str | None
    version: int
    times_received: int
    """Of the newest version."""
    received_at: datetime
    """The time when its newest version was first received."""
    last_received_at: datetime
    matched: list[str]
    """What the text is: its `key`, its `number`, its `article`, or the id of its `message`, `event` or `delivery`."""


class EventMatch(msgspec.Struct, frozen=True):
    """The event (the stored version) that has the text as its id."""

    id: UUID
    platform: str
    account: str
    type: str
    key: str
    version: int
    received_at: datetime


class MessageMatch(msgspec.Struct, frozen=True):
    """The accepted message that has the text as its id."""

    id: UUID
    platform: str
    account: str
    type: str
    key: str
    received_at: datetime


class DeliveryMatch(msgspec.Struct, frozen=True):
    """The delivery that has the text as its id."""

    id: UUID
    subscription_id: UUID
    event_id: UUID
    type: str
    key: str
    status: str
    attempts: int
    created_at: datetime
    finished_at: datetime | None


class SubscriptionMatch(msgspec.Struct, frozen=True):
    """The subscription that has the text as its id, even if it was deleted; without secrets."""

    id: UUID
    subscriber: str
    url: str
    types: list[str]
    accounts: list[str]
    dialect: str
    enabled: bool
    created_at: datetime
    deleted_at: datetime | None


class QuarantineMatch(msgspec.Struct, frozen=True):
    """The quarantined message that has the text as its id."""

    id: UUID
    platform: str
    account: str
    event: str
    stage: str
    reason: str
    received_at: datetime
    replayed_at: datetime | None
    discarded_at: datetime | None


class FindResult(msgspec.Struct):
    """Everything that has a text as its number, article or id. Documents are sorted, the newest first."""

    text: str
    """The text as it was looked up, without blanks at its ends."""
    documents: list[DocumentMatch] = []
    events: list[EventMatch] = []
    messages: list[MessageMatch] = []
    deliveries: list[DeliveryMatch] = []
    subscriptions: list[SubscriptionMatch] = []
    quarantine: list[QuarantineMatch] = []
    incomplete_before: datetime | None = None
    """Set while stored documents are being indexed: those received before are found by their keys and order numbers
    alone."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing has the text."""
        return not (
            self.documents or self.events or self.messages or self.deliveries or self.subscriptions or self.quarantine
        )


async def find(connection: Connection, text: str) -> FindResult:
    """Return everything that has this text as its number, article or id. Raises asyncpg's errors.

    The text is compared exactly, except that blanks and invisible characters at its ends are ignored, and accented
    letters are compared in Unicode's form NFC, as in business keys.
    """
    result = FindResult(normalized(text))
    if not result.text:
        return result
    async with _transaction(connection):
        await connection.execute(query("find", "plan"))
        matches: dict[int, set[str]] = {}
        await _find_documents(connection, result.text, matches)
        if (id_ := _uuid(result.text)) is not None:
            await _find_ids(connection, id_, result, matches)
        if matches:
            result.documents = _newest(await connection.fetch(query("find", "documents"), list(matches)), matches)
        result.incomplete_before = await connection.fetchval(query("identifiers", "incomplete_before"))
    return result


async def other_cases(connection: Connection, text: str) -> list[str]:
    """Return the text in upper and in lower case, as far as a document has it and it differs.

    Raises asyncpg's errors.
    """
    texts = dict.fromkeys(normalized(other) for other in (text.upper(), text.lower()))
    async with _transaction(connection):
        await connection.execute(query("find", "plan"))
        return [other for other in texts if other and other != text and await identifiers.is_known(connection, other)]


def _transaction(connection: Connection) -> AbstractAsyncContextManager[object]:
    """Return a transaction, which the settings of `plan` last for; it may have been begun already."""
    return nullcontext() if connection.is_in_transaction() else connection.transaction()


def normalized(text: str) -> str:
    """Return a text as it is looked up; an empty one if no number, article or id can be like it."""
    text = lenient.normalized(text)
    return "" if value_problem(text) is not None else text


async def _find_documents(connection: Connection, text: str, matches: dict[int, set[str]]) -> None:
    """Add what the text is of each document, by the document's row id."""
    for row in await connection.fetch(query("find", "by_name"), text, LIMIT):
        matches.setdefault(row["id"], set()).add(row["matched"])
    for kind, ids in (await identifiers.newest_documents(connection, text, LIMIT)).items():
        for id_ in ids:
            matches.setdefault(id_, set()).add(_NUMBER if kind == identifiers.NUMBER else _ARTICLE)


def _newest(rows: Sequence[asyncpg.Record], matches: Mapping[int, set[str]]) -> list[DocumentMatch]:
    """Return the documents of these rows, of which the newest come first, with at most LIMIT by number or article."""
    counts = dict.fromkeys((_NUMBER, _ARTICLE), 0)
    documents = []
    for row in rows:
        names = matches[row["id"]]
        if any(counts.get(name, 0) < LIMIT for name in names):
            documents.append(DocumentMatch(**row, matched=sorted(names)))
            for name in names & counts.keys():
                counts[name] += 1
    return documents


async def _find_ids(connection: Connection, id_: UUID, result: FindResult, matches: dict[int, set[str]]) -> None:
    """Add what has this id to the result, and the documents that it belongs to."""
    result.subscriptions = _read(await connection.fetch(query("find", "subscriptions"), id_), SubscriptionMatch)
    result.quarantine = _read(await connection.fetch(query("find", "quarantine"), id_), QuarantineMatch)
    events = await connection.fetch(query("find", "events"), id_)
    deliveries = await connection.fetch(query("find", "deliveries"), id_)
    is_known = bool(matches or events or deliveries or result.subscriptions or result.quarantine)
    messages = await _find_message(connection, id_, is_known=is_known)
    result.events = _read(events, EventMatch)
    result.deliveries = _read(deliveries, DeliveryMatch)
    result.messages = _read(messages, MessageMatch)
    for name, rows in (("event", events), ("delivery", deliveries), ("message", messages)):
        for row in rows:
            matches.setdefault(row["document_id"], set()).add(name)


async def _find_message(connection: Connection, id_: UUID, *, is_known: bool) -> Sequence[asyncpg.Record]:
    """Return the message with this id. `is_known`: whether it is the id of something else."""
    rows: Sequence[asyncpg.Record] = []
    for period in _periods(id_, is_known=is_known):
        rows = rows or await connection.fetch(query("find", "messages"), id_, *period)
    return rows


def _periods(id_: UUID, *, is_known: bool) -> Iterator[tuple[datetime, datetime]]:
    """Yield periods in which a message with this id can have been received, the most probable first.

    Receipts are sorted by time. The first 48 bits of a UUID of version 7, which our ids are, are its creation time.
    Other ids do not limit the period, so all receipts are searched, unless the id is known to be another's.
    """
    if id_.version != 7:
        if not is_known:
            yield _EVER
        return
    try:
        created_at = datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)
        yield from ((created_at - near, created_at + near) for near in _NEAR)
    except (OverflowError, ValueError, OSError):
        return


def _read(rows: Sequence[asyncpg.Record], shape: type[T]) -> list[T]:
    return [msgspec.convert(dict(row), shape) for row in rows]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
