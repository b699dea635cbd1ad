"""Deliveries to subscribers: one for each subscription that a new event matches, written together with the event.

They are rows of the same transaction, so that nothing is lost between a commit and a webhook. Only new events get
deliveries; a message that is handled again finds its deliveries written.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from schemas import filter_events
from schemas.config import Subscriber
from schemas.dialects import dialects
from schemas.outbound import OPERATOR, Dialect
from schemas.patterns import fits
from storage import tables
from storage.database import Connection
from storage.sql import query
from workers.store import announce
from workers.store.allocations import ManufacturerNotice
from workers.store.filtering import Selection, select
from workers.store.ids import delivery_id
from workers.store.rows import Row, columns
from workers.store.versions import StoredVersion


class Outbound(msgspec.Struct, frozen=True):
    """The part of the configuration that outbound webhooks depend on."""

    subscribers: Mapping[str, Subscriber] = {}
    first_delay_seconds: float = 0.0
    """Seconds before the first attempt of a subscription that has no schedule of its own."""


NO_SUBSCRIBERS = Outbound()


class OutboxEvent(msgspec.Struct, frozen=True):
    """An event that subscriptions may match."""

    platform: str
    account: str
    type: str
    names: tuple[str, ...]
    """The names that a pattern of types may match; a share of an order also goes by its manufacturer."""
    key: str
    id: UUID
    version: int
    document_id: int
    received_at: datetime
    message_id: UUID
    payload: bytes | None = None
    """The event's data, if they are not those of a stored version."""
    data: bytes | None = None
    """What filters look into: the JSON that is sent; None if the body is not JSON."""

    def view(self, *, with_data: bool) -> dict[str, object]:
        """Return the event as filters see it."""
        shown = filter_events.attributes(
            id=str(self.id),
            platform=self.platform,
            account=self.account,
            type=self.type,
            key=self.key,
            received_at=self.received_at,
            version=self.version,
        )
        if with_data:
            filter_events.add_data(shown, self.data)
        return shown


class DeliveryRow(NamedTuple):
    """A row of the table `outbox`."""

    id: UUID
    subscription_id: UUID
    next_attempt_at: datetime
    received_at: datetime
    event_id: UUID
    message_id: UUID
    document_id: int
    version: int
    type: str
    key: str
    payload: bytes | None


FINISHED_COLUMNS = (
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
"""The columns of the table `finished` for a DeliveryRow, its attempts and its status."""


async def enqueue_deliveries(
    connection: Connection, new: Sequence[StoredVersion], notices: Iterable[ManufacturerNotice], outbound: Outbound
) -> int:
    """Write the deliveries of new versions and of new notices to manufacturers; return their number.

    Raises asyncpg's errors.
    """
    new_notices = [notice for notice in notices if notice.is_new]
    if not new and not new_notices:
        return 0
    subscriptions = await connection.fetch(query("outbox", "active_subscriptions"), outbound.first_delay_seconds)
    if not subscriptions:
        return 0
    rows: list[DeliveryRow] = []
    replaced: dict[tuple[UUID, int], None] = {}
    selections: dict[tuple[str, ...], tuple[Selection, list[asyncpg.Record]]] = {}
    for event in _events(new, new_notices):
        group = (event.platform, event.account, *event.names)
        if group not in selections:
            covering = [row for row in subscriptions if _covers(row, event, outbound.subscribers)]
            selections[group] = select(group, covering), covering
        selection, covering = selections[group]
        for subscription in selection.matching(event, covering):
            dialect = dialects()[subscription["dialect"]]
            rows.append(_delivery_row(subscription, event, dialect))
            if dialect.newest and event.payload is None:
                replaced[subscription["id"], event.document_id] = None
    if replaced:
        rows = await _keep_newest(connection, rows, replaced)
    await tables.copy(connection, "outbox", DeliveryRow._fields, rows)
    if rows:
        await connection.execute(query("outbox", "wake"))
    return len(rows)


def _events(new: Iterable[StoredVersion], notices: Iterable[ManufacturerNotice]) -> Iterator[OutboxEvent]:
    for stored in new:
        envelope, reading, first = stored.message.envelope, stored.document.reading, stored.version.first
        yield OutboxEvent(
            platform=envelope.platform,
            account=envelope.account,
            type=reading.type,
            names=(reading.type,),
            key=reading.key,
            id=stored.id,
            version=stored.version.number,
            document_id=stored.document_id,
            received_at=first.received_at,
            message_id=first.message_id,
            data=stored.document.data,
        )
    for notice in notices:
        message = notice.message
        envelope, document = message.envelope, message.document
        assert document is not None
        for share in announce.shares(notice):
            yield OutboxEvent(
                platform=envelope.platform,
                account=envelope.account,
                type=share.type,
                names=(share.type, f"{share.type}.{share.manufacturer}"),
                key=document.reading.key,
                id=share.event_id,
                version=notice.version,
                document_id=notice.document_id,
                received_at=envelope.received_at,
                message_id=message.message_id,
                payload=share.data,
                data=share.data,
            )


def _covers(subscription: asyncpg.Record, event: OutboxEvent, subscribers: Mapping[str, Subscriber]) -> bool:
    """Return whether a subscription covers an event, and its subscriber may see the account."""
    account = f"{event.platform}/{event.account}"
    if subscription["subscriber"] != OPERATOR:
        # The present configuration counts, not that of the time when the subscription was created.
        subscriber = subscribers.get(subscription["subscriber"])
        if subscriber is None or not fits(account, subscriber.accounts):
            return False
    dialect = dialects().get(subscription["dialect"])
    return (
        dialect is not None
        and dialect.supports(event.type)
        and fits(account, subscription["accounts"])
        and any(fits(name, subscription["types"]) for name in event.names)
    )


def _delivery_row(subscription: asyncpg.Record, event: OutboxEvent, dialect: Dialect) -> DeliveryRow:
    return DeliveryRow(
        delivery_id(subscription["id"], event.id, event.message_id),
        subscription["id"],
        subscription["now"] if dialect.forever else subscription["first"],
        event.received_at,
        event.id,
        event.message_id,
        event.document_id,
        event.version,
        event.type,
        event.key,
        event.payload,
    )


async def _keep_newest(
    connection: Connection, rows: Sequence[DeliveryRow], replaced: Mapping[tuple[UUID, int], None]
) -> list[DeliveryRow]:
    """Supersede deliveries where only the newest copy of a document is sent, and return the remaining rows.

    `replaced`: the subscriptions and documents of which at most one delivery may wait. Superseded are the stored
    deliveries, and those of `rows` that are about older versions.
    """
    await connection.execute(query("outbox", "supersede"), *columns(list(replaced)))
    newest: dict[tuple[UUID, int], DeliveryRow] = {}
    superseded: list[DeliveryRow] = []
    others: list[DeliveryRow] = []
    for row in rows:
        pair = (row.subscription_id, row.document_id)
        if pair not in replaced:
            others.append(row)
        elif pair not in newest or newest[pair].version < row.version:
            if pair in newest:
                superseded.append(newest[pair])
            newest[pair] = row
        else:
            superseded.append(row)
    finished: list[Row] = [(*row, 0, "superseded") for row in superseded]
    await tables.copy(connection, "finished", FINISHED_COLUMNS, finished)
    return others + list(newest.values())
