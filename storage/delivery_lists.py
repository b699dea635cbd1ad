"""Lists of deliveries as operators see them: a selection, newest first, with the newest attempt of each.

Every list reads an index in the order of (created_at, id). Filters that no index has are checked row by row, on at most
EXAMINED rows for each page of a list, so that no page reads a table.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import msgspec

from schemas.lenient import normalized
from storage.database import Connection
from storage.deliveries import UNSUCCESSFUL, DeliveryRow, Selection, plain
from storage.sql import query

EXAMINED = 20_000
"""Maximum number of deliveries that one page of a list examines."""
ANSWER_BYTES = 4096
"""Maximum bytes of an answer that are shown."""
NEWEST_ATTEMPTS = 50
"""Maximum number of attempts that are shown; a delivery may be attempted every 15 minutes until it succeeds."""
_LISTS = {
    ("pending", False): ("pending", "last_pending"),
    ("pending", True): ("pending_of_subscription", "last_pending_of_subscription"),
    ("unsuccessful", False): ("unsuccessful", "last_unsuccessful"),
    ("unsuccessful", True): ("unsuccessful_of_subscription", "last_unsuccessful_of_subscription"),
    ("delivered", False): ("delivered", "last_delivered"),
    ("delivered", True): ("delivered_of_subscription", "last_delivered_of_subscription"),
    (None, False): ("newest", "last_newest"),
    (None, True): ("newest_of_subscription", "last_newest_of_subscription"),
}
"""The queries of a list and of the last delivery that it examines, by status and by whether a subscription is given."""
_END = datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1)
_FIRST_ID = UUID(int=0)

Place = tuple[datetime, UUID]


class LastAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """The newest attempt of a delivery."""

    at: datetime
    outcome: str
    status_code: int | None
    error: str | None
    response: str
    """The beginning of the answer."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The document whose version a delivery sends; a delivery of a part of it has a type of its own."""

    platform: str
    account: str
    type: str
    key: str


class ListedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery in a list."""

    row: DeliveryRow
    replay_id: UUID | None
    subscriber: str | None
    """None if its subscription is no longer stored; empty for the operator's own."""
    url: str | None
    """The URL without its query."""
    is_subscription_deleted: bool
    document: Document | None
    """None if it is no longer stored."""
    last: LastAttempt | None
    enabled: bool = True
    """Whether its subscription is enabled."""
    paused_until: datetime | None = None
    """Until when the subscriber's server asked for a pause."""


class Listed(msgspec.Struct, frozen=True):
    """One page of a list."""

    rows: Sequence[ListedDelivery]
    """At most one more than the page has, which shows that there is more."""
    examined_to: Place | None
    """Where the search stopped because it had examined EXAMINED deliveries; None if it found enough, or saw all."""


class ShownAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, with the beginning of its answer."""

    attempt: int
    at: datetime
    outcome: str
    status_code: int | None
    duration_ms: float
    error: str | None
    response: str
    response_size: int
    """Bytes of the answer that are stored."""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a delivery sends."""

    received_at: datetime
    size: int | None
    """Bytes; None if it is no longer stored."""
    raw: bytes | None
    """None if it is larger than what was asked for, or no longer stored."""
    flags: Sequence[str]


async def select(
    connection: Connection, selection: Selection, *, before: Place | None = None, limit: int, examined: int = EXAMINED
) -> Listed:
    """Return the deliveries of a selection, newest first, that come after `before`; see `Listed`."""
    name, last_name, own = _case(selection)
    place = before or _END
    if selection.until is not None:
        # What ended before a time was created before it, too.
        place = min(place, (selection.until, _FIRST_ID))
    filters = (selection.type, selection.account, selection.since, selection.until)
    if selection.status != "delivered" and selection.key is None and all(value is None for value in filters):
        examined = limit  # everything that is examined is shown
    rows = await connection.fetch(query("delivery_lists", name), *place, examined, *filters, limit, *own)
    examined_to: Place | None = None
    if len(rows) < limit and last_name is not None:
        last = await connection.fetchrow(query("delivery_lists", last_name), *place, examined, *own)
        examined_to = None if last is None else (last["created_at"], last["id"])
    return Listed(await _described(connection, rows), examined_to)


async def get(connection: Connection, id_: UUID) -> ListedDelivery | None:
    """Return one delivery as lists show it, or None if it does not exist."""
    described = await _described(connection, await connection.fetch(query("delivery_lists", "one"), id_))
    return described[0] if described else None


async def newest_attempts(connection: Connection, id_: UUID) -> list[ShownAttempt]:
    """Return the newest NEWEST_ATTEMPTS attempts of a delivery, the oldest of them first."""
    rows = await connection.fetch(query("delivery_lists", "newest_attempts"), id_, NEWEST_ATTEMPTS, ANSWER_BYTES)
    return [ShownAttempt(**{**row, "response": row["response"].decode("utf-8", "replace")}) for row in reversed(rows)]


async def content(connection: Connection, id_: UUID, limit: int) -> Content | None:
    """Return what a delivery sends, with its bytes if there are at most `limit`; None if it does not exist."""
    row = await connection.fetchrow(query("delivery_lists", "content"), id_, limit)
    return None if row is None else Content(**{name: row[name] for name in Content.__struct_fields__})


def _case(selection: Selection) -> tuple[str, str | None, tuple[object, ...]]:
    """Return the queries of the list whose index has its order, and their own parameters; None if it has no end."""
    status, subscription = selection.status, selection.subscription
    if selection.key is not None:
        return "of_key", None, (normalized(selection.key), status, subscription)
    own: tuple[object, ...] = () if subscription is None else (subscription,)
    if status is not None and status in UNSUCCESSFUL:
        return *_LISTS["unsuccessful", subscription is not None], (*own, status)
    return *_LISTS[status, subscription is not None], own


async def _described(connection: Connection, rows: Sequence[asyncpg.Record]) -> list[ListedDelivery]:
    if not rows:
        return []
    columns = [[row[name] for row in rows] for name in ("id", "subscription_id", "document_id", "created_at")]
    details = {row["id"]: row for row in await connection.fetch(query("delivery_lists", "described"), *columns)}
    return [_listed(row, details[row["id"]]) for row in rows]


def _listed(row: asyncpg.Record, more: asyncpg.Record) -> ListedDelivery:
    document = None
    if more["platform"] is not None:
        document = Document(
            platform=more["platform"], account=more["account"], type=more["document_type"], key=more["document_key"]
        )
    return ListedDelivery(
        row=plain(row),
        replay_id=row["replay_id"],
        subscriber=more["subscriber"],
        url=more["url"],
        is_subscription_deleted=more["is_gone"] is not False,
        document=document,
        last=last_attempt(more),
        enabled=more["enabled"] is not False,
        paused_until=more["paused_until"],
    )


def last_attempt(row: asyncpg.Record) -> LastAttempt | None:
    """Return the newest attempt that a row ends with, or None if there was none."""
    if row["at"] is None:
        return None
    return LastAttempt(
        at=row["at"],
        outcome=row["outcome"],
        status_code=row["status_code"],
        error=row["error"],
        response=row["response"].decode("utf-8", "replace"),
    )
