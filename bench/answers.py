"""uStore's answers: how long a shopper waits, compared with a bare HTTP and a bare direct-reply round trip."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import aio_pika
import aiohttp
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from bench.common import PEERS, BenchmarkError, Servers, answers, channel, process, purge, until
from bench.ingress import start_ingress
from bench.plan import Plan
from bench.row import Row, Times
from broker.replies import REPLY_TO
from deploy import config as configuration
from deploy.local.children import free_ports
from schemas import registry

ALONE, TOGETHER = 1, 8
"""Concurrent requests: one shopper, and several."""


async def bench_answers(servers: Servers, plan: Plan) -> list[Row]:
    """Measure uStore's answers in milliseconds, for one shopper and for several at a time."""
    rows = []
    for at_once in (ALONE, TOGETHER):
        results = [await _measure(servers, plan.answers, at_once) for _ in range(plan.runs)]
        what, against = f"uStore answer, {at_once} at a time", "bare HTTP + bare direct reply"
        for name, goal in (("p50", 2.0), ("p99", None)):
            ours, http, reply = ([getattr(times, name) for times in side] for side in zip(*results, strict=True))
            bare = [request + question for request, question in zip(http, reply, strict=True)]
            rows.append(Row(f"{what}, {name} ms", against, ours, bare, goal, less=True, digits=2))
    return rows


async def _measure(servers: Servers, count: int, at_once: int) -> list[Times]:
    """Return the times of ours, of bare HTTP and of bare direct replies, measured a quarter of each in turn."""
    route_admin, bare = free_ports(2)
    queue = f"bench-{uuid4().hex}"
    platform = registry.platforms()["ustore"]
    account = platform.demo[0]
    raw = registry.example("ustore", platform.events[0].examples[0])
    signed = platform.sign(raw, configuration.parse({}, servers.folder).accounts["ustore"][account])
    headers = {"Content-Type": "application/json", **signed.headers}
    route = ("-m", "deploy.cli.main", "worker", "route", "--admin-port", str(route_admin))
    async with AsyncExitStack() as stack:
        port = await start_ingress(stack, servers)
        for command in (
            route,
            (str(PEERS / "bare_aiohttp.py"), str(bare)),
            (str(PEERS / "bare_reply.py"), servers.amqp, queue),
        ):
            await stack.enter_async_context(process(servers, *command))
        await answers(f"http://127.0.0.1:{route_admin}/readyz", 200)
        await answers(f"http://127.0.0.1:{bare}/", 405)
        replies = await stack.enter_async_context(_Replies(servers.amqp, queue))
        await replies.wait_for_worker()
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def post(url: str) -> None:
            async with session.post(url, data=raw, headers=headers) as answer:
                await answer.read()
                if answer.status != 200:
                    raise BenchmarkError(f"answered {answer.status}")

        ours = f"http://127.0.0.1:{port}/hooks/ustore/{account}/{platform.events[0].path}"
        plans: list[Callable[[], Awaitable[object]]] = [
            lambda: post(ours),
            lambda: post(f"http://127.0.0.1:{bare}/"),
            lambda: replies.ask(raw),
        ]
        for plan in plans:
            await _times(plan, 100, at_once)  # connections, caches
        times: list[list[float]] = [[], [], []]
        for _ in range(4):
            for some, plan in zip(times, plans, strict=True):
                some += await _times(plan, count // 4, at_once)
    await purge(servers.amqp)
    return [Times.of(some) for some in times]


async def _times(plan: Callable[[], Awaitable[object]], count: int, at_once: int) -> list[float]:
    times: list[float] = []

    async def client() -> None:
        for _ in range(count // at_once):
            started = time.perf_counter()
            await plan()
            times.append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*(client() for _ in range(at_once)))
    return times


class _Replies:
    """A bare client of RabbitMQ's direct reply-to, on the aiormq channel: aio-pika's own work would favour ours."""

    def __init__(self, amqp: str, queue: str) -> None:
        self._amqp = amqp
        self._queue = queue
        self._pending: dict[str, asyncio.Future[bytes]] = {}

    async def __aenter__(self) -> "_Replies":
        self._connection = await aio_pika.connect(self._amqp)
        channel = await self._connection.channel(publisher_confirms=False)
        self._channel = await channel.get_underlay_channel()

        async def on_reply(message: DeliveredMessage) -> None:
            self._pending.pop(message.header.properties.correlation_id or "").set_result(bytes(message.body))

        await self._channel.basic_consume(REPLY_TO, on_reply, no_ack=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def wait_for_worker(self) -> None:
        """Wait until a worker consumes the queue. Raises TimeoutError."""

        async def look() -> bool:
            try:
                async with channel(self._amqp) as opened:
                    return bool((await opened.get_queue(self._queue)).declaration_result.consumer_count)
            except ChannelNotFoundEntity:
                return False

        await until(look, "a bare worker of direct replies", seconds=30)

    async def ask(self, body: bytes) -> bytes:
        """Send a request and return the reply."""
        name = uuid4().hex
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[name] = future
        properties = Basic.Properties(correlation_id=name, reply_to=REPLY_TO)
        await self._channel.basic_publish(body, routing_key=self._queue, properties=properties)
        return await future
