"""uStore's answers: how long a shopper waits, beside a bare HTTP and a bare direct-reply round trip in the same run."""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import aiohttp
import aiormq
import msgspec
from pamqp.commands import Basic

from broker.replies import REPLY_TO
from deploy import config as configuration
from deploy.local.children import end, free_ports, spawn
from schemas import registry

PEERS = Path(__file__).parent / "peers"
ALONE, TOGETHER = 1, 8
"""Requests under way at a time: one shopper, and several."""


class Times(msgspec.Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p99: float


class Answers(msgspec.Struct, frozen=True):
    """Of one run."""

    ours: Times
    http: Times
    reply: Times

    @property
    def ratio(self) -> float:
        """p50 of ours to the sum of the bare ones."""
        return self.ours.p50 / (self.http.p50 + self.reply.p50)


async def measure(env: dict[str, str], amqp: str, folder: Path, *, count: int, at_once: int) -> Answers:
    """One run of each, in turn."""
    port, admin, route_admin, bare = free_ports(4)
    queue = f"bench-{uuid4().hex}"
    log = folder / "answers.log"
    main = [sys.executable, "-m", "deploy.cli.main"]
    children = [
        spawn([*main, "ingress", "--port", str(port), "--admin-port", str(admin)], env=env, log=log),
        spawn([*main, "worker", "route", "--admin-port", str(route_admin)], env=env, log=log),
        spawn([sys.executable, str(PEERS / "bare_aiohttp.py"), str(bare)], env=env, log=log),
        spawn([sys.executable, str(PEERS / "bare_reply.py"), amqp, queue], env=env, log=log),
    ]
    platform = registry.platforms()["ustore"]
    account = platform.demo[0]
    raw = registry.example("ustore", platform.events[0].examples[0])
    signed = platform.sign(raw, configuration.parse({}, folder).accounts["ustore"][account])
    headers = {"Content-Type": "application/json", **signed.headers}
    url = f"http://127.0.0.1:{port}/hooks/ustore/{account}/{platform.events[0].path}"
    try:
        async with aiohttp.ClientSession() as session:
            for ready in (f"http://127.0.0.1:{admin}/readyz", f"http://127.0.0.1:{route_admin}/readyz"):
                await _until(lambda ready=ready: _status(session, ready), 200)  # type: ignore[misc]
            await _until(lambda: _status(session, f"http://127.0.0.1:{bare}/"), 405)

            async def ours() -> None:
                async with session.post(url, data=raw, headers=headers) as answer:
                    await answer.read()
                    if answer.status != 200:
                        raise RuntimeError(f"answered {answer.status}; see {log}")

            async def http() -> None:
                async with session.post(f"http://127.0.0.1:{bare}/", data=raw, headers=headers) as answer:
                    await answer.read()

            async with _Replies(amqp, queue) as replies:
                await _until(replies.there, True)
                plans: list[Callable[[], Awaitable[object]]] = [ours, http, lambda: replies.ask(raw)]
                for plan in plans:
                    await _times(plan, 100, at_once)  # connections, caches
                found: list[list[float]] = [[], [], []]
                for _ in range(4):
                    for times, plan in zip(found, plans, strict=True):
                        times += await _times(plan, count // 4, at_once)
    finally:
        for child in children:
            await end(child, 15, 10)
    return Answers(*(_summary(times) for times in found))


async def _times(plan: Callable[[], Awaitable[object]], count: int, at_once: int) -> list[float]:
    times: list[float] = []

    async def one() -> None:
        for _ in range(count // at_once):
            started = time.perf_counter()
            await plan()
            times.append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*(one() for _ in range(at_once)))
    return times


def _summary(times: list[float]) -> Times:
    cuts = statistics.quantiles(times, n=100)
    return Times(cuts[49], cuts[98])


async def _status(session: aiohttp.ClientSession, url: str) -> int:
    try:
        async with session.get(url) as answer:
            return answer.status
    except aiohttp.ClientError:
        return 0


async def _until(look: Callable[[], Awaitable[object]], wanted: object) -> None:
    until = time.monotonic() + 30
    while await look() != wanted:
        if time.monotonic() > until:
            raise TimeoutError("a process did not start")
        await asyncio.sleep(0.05)


class _Replies:
    """The bare asker."""

    def __init__(self, amqp: str, queue: str) -> None:
        self._amqp = amqp
        self._queue = queue
        self._pending: dict[str, asyncio.Future[bytes]] = {}

    async def __aenter__(self) -> "_Replies":
        self._connection = await aiormq.connect(self._amqp)
        self._channel = await self._connection.channel(publisher_confirms=False)

        async def heard(message: aiormq.abc.DeliveredMessage) -> None:
            self._pending.pop(message.header.properties.correlation_id or "").set_result(bytes(message.body))

        await self._channel.basic_consume(REPLY_TO, heard, no_ack=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def there(self) -> bool:
        connection = await aiormq.connect(self._amqp)
        try:
            channel = await connection.channel()
            return bool((await channel.queue_declare(self._queue, passive=True)).consumer_count)
        except aiormq.exceptions.ChannelNotFoundEntity:
            return False
        finally:
            await connection.close()

    async def ask(self, body: bytes) -> bytes:
        """What comes back."""
        name = uuid4().hex
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[name] = future
        properties = Basic.Properties(correlation_id=name, reply_to=REPLY_TO)
        await self._channel.basic_publish(body, routing_key=self._queue, properties=properties)
        return await future
