"""Publishes quarantined messages again, for `crossdock quarantine replay`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID

from aio_pika.abc import AbstractChannel
from asyncpg import Record

from broker import outgoing
from deploy.cli import servers
from deploy.cli.errors import CommandError, explain
from deploy.cli.options import confirm
from schemas import envelope, topology
from storage import quarantine
from storage.database import Connection
from storage.quarantine import Selection

CONFIRM_TIMEOUT = 10.0
"""Seconds to wait for the broker's confirm of one message."""


async def replay_messages(
    state: Path | None, ids: list[UUID], selection: Selection | None, shards: int, *, ask: bool
) -> list[UUID]:
    """Replay the named or the selected messages, and return them.

    Named messages are looked up before the first is published. `shards`: number of inbound queues. `ask`: ask for
    confirmation first. Raises CommandError.
    """
    done: list[UUID] = []
    async with servers.database(state) as connection, servers.broker(state) as channel:
        if selection is None:
            sizes = await quarantine.sizes(connection, ids)
            unknown = [str(id_) for id_ in ids if id_ not in sizes]
            if unknown:
                raise CommandError(f"not in quarantine: {', '.join(unknown)}; nothing was replayed")
            count = len(sizes)
        else:
            count = await quarantine.count_open(connection, selection)
            if ask:
                confirm(f"{count} messages", "replayed")
        try:
            async for page in _pages(connection, ids, selection):
                for piece in quarantine.pieces(page):
                    done += await _publish(connection, channel, piece, shards, again=selection is None)
        except Exception as error:
            raise CommandError(f"{len(done)} of {count} replayed, then: {_reason(error)}") from error
    return done


async def _pages(
    connection: Connection, ids: list[UUID], selection: Selection | None
) -> AsyncIterator[list[tuple[UUID, int]]]:
    """Yield ids and sizes of the messages."""
    if selection is None:
        sizes = await quarantine.sizes(connection, ids)
        yield [(id_, sizes[id_]) for id_ in dict.fromkeys(ids) if id_ in sizes]
        return
    async for page in quarantine.pages(connection, selection):
        yield page


async def _publish(
    connection: Connection, channel: AbstractChannel, ids: Sequence[UUID], shards: int, *, again: bool
) -> list[UUID]:
    """Publish some messages and mark them, in one transaction, which commits when the broker has confirmed all of them.

    A process that dies in between leaves them on the list, to be replayed once more, which changes nothing. If a
    message fails again, the store worker waits for the commit and then puts it back on the list.
    """
    async with connection.transaction():
        rows = await quarantine.lock(connection, ids, again=again)
        locked = [row["id"] for row in rows]
        await quarantine.mark_all_replayed(connection, locked)
        async with asyncio.TaskGroup() as sending:
            for row in rows:
                sending.create_task(_send(channel, row, shards))
    return locked


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


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return explain(error) or str(outgoing.explain(error))
