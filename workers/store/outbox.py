"""Who is to be told: a delivery for each subscription that an event matches, written with the event.

In the same transaction, so that nothing is lost between a commit and a webhook. Only what is new is told: a message
that is handled again finds its deliveries written.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from schemas.config import Subscriber
from schemas.dialects import dialects
from schemas.outbound import OPERATOR
from schemas.patterns import fits
from schemas.platforms.ustore import manufacturer_order
from storage import tables
from storage.database import Connection
from storage.sql import query
from workers.store import announce
from workers.store.allocations import ManufacturerNotice
from workers.store.ids import delivery_id
from workers.store.rows import columns
from workers.store.versions import StoredVersion

COLUMNS = (
    "id",
    "subscription_id",
    "next_attempt_at",
    "received_at",
    "event_id",
    "message_id",
    "document_id",
    "version",
    "type",
    "key",
    "payload",
)


class Outbound(msgspec.Struct, frozen=True):
    """What the configuration says of webhooks out."""

    subscribers: Mapping[str, Subscriber] = {}
    first: float = 0.0
    """Seconds before the first attempt, where a subscription has no schedule of its own."""


NO_SUBSCRIBERS = Outbound()


class News(msgspec.Struct, frozen=True):
    """An event that subscribers may want."""

    platform: str
    account: str
    type: str
    names: tuple[str, ...]
    """What a pattern of types may be written for; a manufacturer's order also goes by its manufacturer."""
    key: str
    id: UUID
    version: int
    document_id: int
    received_at: datetime
    message_id: UUID
    payload: bytes | None = None


async def enqueue_deliveries(
    connection: Connection, new: Sequence[StoredVersion], told: Sequence[ManufacturerNotice], outbound: Outbound
) -> int:
    """Writes the deliveries of new versions and of manufacturers' new orders; how many. Raises asyncpg's errors."""
    told = [notice for notice in told if notice.is_new]
    if not new and not told:
        return 0
    active = await connection.fetch(query("outbox", "active_subscriptions"), outbound.first)
    if not active:
        return 0
    rows: list[tuple[Any, ...]] = []
    replaced: dict[tuple[UUID, int], None] = {}
    matching: dict[tuple[str, ...], list[asyncpg.Record]] = {}
    for news in _news(new, told):
        group = (news.platform, news.account, *news.names)
        found = matching.get(group)
        if found is None:
            found = matching[group] = [one for one in active if _wants(one, news, outbound.subscribers)]
        for one in found:
            dialect = dialects()[one["dialect"]]
            name = delivery_id(one["id"], news.id, news.message_id)
            due = one["now"] if dialect.forever else one["first"]
            rows.append(
                (
                    name,
                    one["id"],
                    due,
                    news.received_at,
                    news.id,
                    news.message_id,
                    news.document_id,
                    news.version,
                    news.type,
                    news.key,
                    news.payload,
                )
            )
            if dialect.newest and news.payload is None:
                replaced[one["id"], news.document_id] = None
    if replaced:
        rows = await _newest_only(connection, rows, replaced)
    await tables.copy(connection, "outbox", COLUMNS, rows)
    if rows:
        await connection.execute(query("outbox", "wake"))
    return len(rows)


def _wants(one: asyncpg.Record, news: News, subscribers: Mapping[str, Subscriber]) -> bool:
    account = f"{news.platform}/{news.account}"
    if one["subscriber"] != OPERATOR:
        # What the configuration says now, not what it said when the subscription was made.
        subscriber = subscribers.get(one["subscriber"])
        if subscriber is None or not fits(account, subscriber.accounts):
            return False
    dialect = dialects().get(one["dialect"])
    return (
        dialect is not None
        and dialect.supports(news.type)
        and fits(account, one["accounts"])
        and any(fits(name, one["types"]) for name in news.names)
    )


async def _newest_only(
    connection: Connection, rows: list[tuple[Any, ...]], replaced: Mapping[tuple[UUID, int], None]
) -> list[tuple[Any, ...]]:
    """Where the newest copy is what is sent, one delivery waits for a document: the older ones are superseded."""
    await connection.execute(query("outbox", "supersede"), *columns(list(replaced)))
    newest: dict[tuple[UUID, int], tuple[Any, ...]] = {}
    older: list[tuple[Any, ...]] = []
    others: list[tuple[Any, ...]] = []
    for row in rows:
        place = (row[1], row[6])
        if place not in replaced:
            others.append(row)
        elif place not in newest or newest[place][7] < row[7]:
            if place in newest:
                older.append(newest[place])
            newest[place] = row
        else:
            older.append(row)
    await tables.copy(connection, "finished", (*COLUMNS_FINISHED,), [_superseded(row) for row in older])
    return others + list(newest.values())


COLUMNS_FINISHED = (
    "id",
    "subscription_id",
    "created_at",
    "received_at",
    "event_id",
    "message_id",
    "document_id",
    "version",
    "type",
    "key",
    "payload",
    "attempts",
    "status",
)


def _superseded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*row, 0, "superseded")


def _news(new: Sequence[StoredVersion], told: Sequence[ManufacturerNotice]) -> Iterator[News]:
    for stored in new:
        about, reading = stored.message.envelope, stored.document.reading
        yield News(
            platform=about.platform,
            account=about.account,
            type=reading.type,
            names=(reading.type,),
            key=reading.key,
            id=stored.id,
            version=stored.version.number,
            document_id=stored.document_id,
            received_at=stored.version.first.received_at,
            message_id=stored.version.first.message_id,
        )
    for one in told:
        message = one.message
        about, document = message.envelope, message.document
        assert document is not None
        for part in announce.parts(one):
            yield News(
                platform=about.platform,
                account=about.account,
                type=manufacturer_order.TYPE,
                names=(manufacturer_order.TYPE, f"{manufacturer_order.TYPE}.{part.manufacturer}"),
                key=document.reading.key,
                id=part.id,
                version=one.version,
                document_id=one.document_id,
                received_at=about.received_at,
                message_id=message.message_id,
                payload=part.data,
            )
