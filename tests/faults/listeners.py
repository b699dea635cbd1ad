"""The receivers of all events: webhook subscribers of every dialect, and a consumer with a queue of its own."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import cycle

import aiormq
import asyncpg
from aiohttp import web
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import AMQPError
from msgspec import UNSET
from multidict import CIMultiDict

from broker import declare
from broker.commands import connected
from broker.connection import addresses
from deploy.demo.receiver import CHECKS, NOT_CURRENT
from schemas import cloudevents, consumers
from schemas.platforms.ustore import manufacturer_order
from tests.support.receiver import ReceivedRequest, receiver, subscribe

SECRETS = {
    "standard": "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=",
    "channelape": "channelape-subscriber-secret",
    "ecomnow": "Basic c3Vic2NyaWJlcjpzZWNyZXQ=",
    "apicbase": "apicbase-subscriber-secret",
}
"""The secret of the subscription in each dialect; for eComNow the whole `Authorization` header."""
TYPES = {"standard": ["*"], "channelape": ["channelape.*"], "ecomnow": ["*"], "apicbase": ["*"]}
MAX_IN_FLIGHT = 4
ANSWER = 0.02
"""Seconds until a subscriber answers: long enough that calls of two workers at the same time overlap."""
PREFETCH = 100
BACK_OFF = 0.3


class Subscribers:
    """Counts the calls to the subscribers: how often each event came, and whether the concurrency limit was kept."""

    def __init__(self) -> None:
        self.port = 0
        self.received: dict[str, Counter[str]] = defaultdict(Counter)
        """How often each event came, by dialect and event id."""
        self.beyond_limit = 0
        """Calls that arrived while as many as the subscription allows were in progress."""
        self.invalid: list[str] = []
        """For each call that was not as its dialect requires: the dialect and the reason."""
        self._busy: Counter[str] = Counter()

    async def take(self, got: ReceivedRequest) -> web.Response:
        """Answer 200 to a valid call and 401 to any other."""
        dialect = got.path.strip("/")
        self._busy[dialect] += 1
        self.beyond_limit += self._busy[dialect] > MAX_IN_FLIGHT
        try:
            headers = CIMultiDict(got.headers)
            reason = CHECKS[dialect](SECRETS[dialect], got.body, headers, got.query)
            if reason is not None:
                # NOT_CURRENT: a fault has set the sender's clock wrong; the delivery is retried when it is right.
                if reason != NOT_CURRENT:
                    self.invalid.append(f"{dialect}: {reason}")
                return web.Response(status=401)
            self.received[dialect][headers.get("webhook-id") or headers["X-Crossdock-Id"]] += 1
            await asyncio.sleep(ANSWER)
            return web.Response()
        finally:
            self._busy[dialect] -= 1


@asynccontextmanager
async def subscribers() -> AsyncIterator[Subscribers]:
    """Run the subscribers on a free port."""
    calls = Subscribers()
    # A sender whose connection is lost cannot know how long its request is still handled, so it no longer counts.
    async with receiver(cancel_lost=True) as server:

        async def answer(got: ReceivedRequest) -> web.Response:
            server.got.clear()  # otherwise the bodies of hours would fill the memory
            return await calls.take(got)

        server.answer = answer
        calls.port = int(server.url.rpartition(":")[2])
        yield calls


async def register(database: asyncpg.Connection, url: str) -> None:
    """Create a subscription in each dialect, whose URL is `url` and the dialect's name."""
    for dialect, secret in SECRETS.items():
        authorization = secret if dialect == "ecomnow" else None
        await subscribe(
            database,
            f"{url}/{dialect}",
            dialect=dialect,
            types=TYPES[dialect],
            secret=secret,
            authorization=authorization,
            max_in_flight=MAX_IN_FLIGHT,
        )


class Consumer:
    """Consumes `crossdock.events` from a durable queue, and counts how often each event came."""

    def __init__(self, amqp_url: str) -> None:
        self._urls = addresses(amqp_url)
        self._settings = consumers.Consumer(name="faults", types=["*"], accounts=["*"])
        self._task: asyncio.Task[None] | None = None
        self.received: Counter[str] = Counter()
        """How often each event came, by its id."""
        self.parts: dict[tuple[str, str], set[str]] = defaultdict(set)
        """Ids of the events of manufacturers' orders, by order and manufacturer."""
        self.referring: set[str] = set()
        """Ids of events that came with a reference to their data instead of the data."""

    async def start(self) -> None:
        """Declare the queue and consume it until `stop`; a lost connection is opened again."""
        async with connected(self._urls[0]) as connection:
            for queue in consumers.queues(self._settings):
                await declare.declare(connection, queue)
            channel = await connection.channel()
            for binding in consumers.bindings(self._settings):
                await declare.bind(channel, binding)
        self._task = asyncio.create_task(self._run(), name="consumer")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        for url in cycle(self._urls):
            try:
                await self._consume(url)
            except asyncio.CancelledError:
                if task.cancelling():
                    raise
                # Otherwise the library cancelled this task, because it waited on a connection that broke.
            except (OSError, TimeoutError, AMQPError):
                pass
            await asyncio.sleep(BACK_OFF)

    async def _consume(self, url: str) -> None:
        async with asyncio.timeout(5):
            connection = await aiormq.connect(url)
        try:
            channel = await connection.channel()
            await channel.basic_qos(prefetch_count=PREFETCH)

            async def receive(message: DeliveredMessage) -> None:
                event = cloudevents.decode(bytes(message.body))
                self.received[event.id] += 1
                if event.data is UNSET and event.data_base64 is UNSET and b'"dataref"' in message.body:
                    self.referring.add(event.id)
                key = message.routing_key or ""
                if key.startswith(f"{manufacturer_order.TYPE}."):
                    self.parts[event.subject, key.rpartition(".")[2]].add(event.id)
                assert message.delivery_tag is not None
                await channel.basic_ack(message.delivery_tag, wait=False)

            await channel.basic_consume(self._settings.queue, receive)
            await asyncio.wait((connection.closing, channel.closing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            with suppress(Exception):
                async with asyncio.timeout(2):
                    await connection.close()
