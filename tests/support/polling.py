"""What polls came to, for tests: on the queue, in the database."""

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
    """What waits for the store worker: envelope, body, routing key."""
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
    """Waits for rounds that began after this moment and went well."""

    async def ok_at() -> Any:
        return await pool.fetchval("SELECT last_ok_at FROM crossdock.polls WHERE account = $1", account)

    for _ in range(count + 1):  # the first may be under way
        before = await ok_at()

        async def another(before: Any = before) -> bool:
            return bool(await ok_at() != before)

        await until(another, what="a round")


async def since(pool: asyncpg.Pool, days: float, account: str = "acme") -> None:
    """As an operator sets an account back, before it is polled at all."""
    await polls.register(pool, "apicbase", [account])
    moment = datetime.now(UTC) - timedelta(days=days)
    await pool.execute("UPDATE crossdock.polls SET cursor = $1 WHERE account = $2", moment, account)


async def stored(pool: asyncpg.Pool) -> dict[str, tuple[int, int]]:
    """Newest version and times received, by order."""
    rows = await pool.fetch("SELECT key, version, times_received FROM crossdock.current_events")
    return {row["key"]: (row["version"], row["times_received"]) for row in rows}


def has(pool: asyncpg.Pool, expected: dict[str, tuple[int, int]]) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return await stored(pool) == expected

    return look


def holding(
    kind: str = "page", nth: int = 1
) -> tuple[Callable[[Any, int], Awaitable[None]], asyncio.Event, asyncio.Event]:
    """An answer that waits, once: what to set it to, when it is asked for, and what lets it go on."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(request: Any, number: int) -> None:
        if request.kind == kind and number == nth:
            reached.set()
            await go_on.wait()

    return hold, reached, go_on


async def is_empty(amqp_url: str, queue: str) -> bool:
    return await waiting(amqp_url, queue) == 0


async def kill(worker: PollWorker) -> None:
    """As a process that dies: nothing is finished, nothing given back."""
    await worker._background.stop()
    tasks = [task for _, task in worker._running.values()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if worker._database.is_open:
        (await worker._database.pool()).terminate()
    await worker.stop()
