"""Waits for polls, and reads their results from the queue and the database."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiormq
import asyncpg
from pamqp.commands import Basic

from broker import topology as broker_topology
from schemas import envelope
from schemas.config import Config
from storage import polls
from tests.support.pipeline import until
from workers.poll.worker import PollWorker

Start = Callable[[Config], PollWorker]
Lines = Callable[[], list[dict[str, Any]]]


async def waiting(amqp_url: str, queue: str = "crossdock.store") -> int:
    return (await broker_topology.depths(amqp_url))[queue][0]


async def take(amqp_url: str) -> list[tuple[envelope.Envelope, bytes, str]]:
    """Take all messages from the store worker's queue; return the envelope, body and routing key of each."""
    connection = await aiormq.connect(amqp_url)
    messages: list[tuple[envelope.Envelope, bytes, str]] = []
    try:
        channel = await connection.channel()
        while isinstance((message := await channel.basic_get("crossdock.store", no_ack=True)).delivery, Basic.GetOk):
            meta = envelope.from_properties(message.header.properties.marshal())
            messages.append((meta, message.body, message.delivery.routing_key or ""))
    finally:
        await connection.close()
    return messages


async def rounds(pool: asyncpg.Pool, count: int = 1, account: str = "acme") -> None:
    """Wait for `count` successful rounds that began after the call."""

    async def ok_at() -> Any:
        return await pool.fetchval("SELECT last_ok_at FROM crossdock.polls WHERE account = $1", account)

    for _ in range(count + 1):  # the first may have begun before
        before = await ok_at()

        async def another(before: Any = before) -> bool:
            return bool(await ok_at() != before)

        await until(another, what="a round")


async def since(pool: asyncpg.Pool, days: float, account: str = "acme") -> None:
    """Set the account's cursor back by `days`, as an operator does, before it is polled for the first time."""
    await polls.register(pool, "apicbase", [account])
    moment = datetime.now(UTC) - timedelta(days=days)
    await pool.execute("UPDATE crossdock.polls SET cursor = $1 WHERE account = $2", moment, account)


async def stored(pool: asyncpg.Pool) -> dict[str, tuple[int, int]]:
    """Return the newest version of each order and how often it was received, by its key."""
    rows = await pool.fetch("SELECT key, version, times_received FROM crossdock.current_events")
    return {row["key"]: (row["version"], row["times_received"]) for row in rows}


def has(pool: asyncpg.Pool, expected: dict[str, tuple[int, int]]) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return await stored(pool) == expected

    return look


def holding(
    kind: str = "page", nth: int = 1
) -> tuple[Callable[[Any, int], Awaitable[None]], asyncio.Event, asyncio.Event]:
    """Return an answer that waits on the nth request of this kind, the event that is set when that request arrives, and
    the event that lets the answer continue."""
    reached, resume = asyncio.Event(), asyncio.Event()

    async def hold(request: Any, number: int) -> None:
        if request.kind == kind and number == nth:
            reached.set()
            await resume.wait()

    return hold, reached, resume


async def is_empty(amqp_url: str, queue: str) -> bool:
    return await waiting(amqp_url, queue) == 0


async def kill(worker: PollWorker) -> None:
    """End the worker as if its process died: it finishes nothing and releases nothing."""
    await worker._background.stop()
    tasks = [task for _, task in worker._running.values()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if worker._database.is_open:
        (await worker._database.pool()).terminate()
    await worker.stop()
