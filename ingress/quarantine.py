"""Publishes quarantined messages again, for the console and for `crossdock quarantine replay`.

A message is marked as replayed in a transaction that commits when the broker has confirmed it (house rule: publish,
confirm, commit). A process that dies in between leaves it on the list, to be replayed once more, which changes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import DeliveryError
from asyncpg import Record

from broker import outgoing
from broker.connection import REMOTE_ERRORS, addresses, connect
from schemas import envelope, topology
from storage import quarantine
from storage.database import Connection

CONFIRM_TIMEOUT = 10.0
"""Seconds to wait for the broker's confirm of one message."""
CONNECT_TIMEOUT = 5.0
"""Seconds to connect to one node of the broker."""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What came of publishing some messages."""

    ids: Sequence[UUID]
    """Those that the broker has confirmed."""
    refused: Mapping[UUID, Exception]
    """Those that the broker did not take, which stay on the list."""


@asynccontextmanager
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """Open a channel with confirms on the first node that answers. Raises BrokerUnavailableError."""
    problem: BaseException = OSError("no node is configured")
    for node in addresses(amqp_url):
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await connect(node)
        except (*REMOTE_ERRORS, TimeoutError) as error:
            problem = error
            continue
        try:
            yield await connection.channel(on_return_raises=True)
        finally:
            await connection.close()
        return
    raise outgoing.explain(problem)


async def publish(
    connection: Connection, channel: AbstractChannel, ids: Sequence[UUID], shards: int, *, again: bool = False
) -> Published:
    """Publish messages and mark those that are confirmed, in the caller's transaction, which it then commits.

    Messages that are not on the list any more are left out. `again`: include those that were replayed or discarded
    before. `shards`: number of inbound queues. If a message fails again, the store worker waits for the commit and then
    puts it back on the list. Raises the errors of a broker that is unavailable.
    """
    rows = await quarantine.lock(connection, ids, again=again)
    published = await send(channel, rows, shards)
    await quarantine.mark_all_replayed(connection, published.ids)
    return published


async def send(channel: AbstractChannel, rows: Sequence[Record], shards: int) -> Published:
    """Publish messages that are locked, without the database; the caller marks those that are confirmed.

    Raises the errors of a broker that is unavailable.
    """
    results = await asyncio.gather(*(_send(channel, row, shards) for row in rows), return_exceptions=True)
    confirmed: list[UUID] = []
    refused: dict[UUID, Exception] = {}
    for row, error in zip(rows, results, strict=True):
        if error is None:
            confirmed.append(row["id"])
        elif isinstance(error, DeliveryError):  # returned, or refused with a negative confirm
            refused[row["id"]] = error
        else:
            raise error
    return Published(ids=confirmed, refused=refused)


async def _send(channel: AbstractChannel, row: Record, shards: int) -> None:
    """Publish a message under its own ID to where it was addressed; with several shards, to the one that stores it."""
    message = envelope.Envelope(
        message_id=str(row["id"]),
        platform=row["platform"],
        account=row["account"],
        event=row["event"],
        received_at=row["received_at"],
        content_type=row["content_type"],
        traceparent=row["traceparent"],
    )
    properties = envelope.to_properties(message)
    if shards > 1:
        properties.headers = {**(properties.headers or {}), "BCC": [topology.shard_key(message.message_id, shards)]}
    exchange = await channel.get_exchange(topology.INBOUND, ensure=False)
    key = row["routing_key"] or topology.inbound_key(message.platform, message.account, message.event)
    await exchange.publish(outgoing.RawMessage(bytes(row["raw"]), properties), key, timeout=CONFIRM_TIMEOUT)
