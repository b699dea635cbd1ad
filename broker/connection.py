"""One AMQP connection, kept open.

The library's connection and heartbeats do the work; this adds what a service needs around them: several hosts in one
URL, reconnection with back-off, and one moment (`on_open`) where everything that lives on the connection is set up
again. A channel that dies takes its connection with it: one way to fail, one way to recover.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import AMQPError
from yarl import URL

from broker.frames import Transport
from telemetry.background import Background

log = logging.getLogger("crossdock.broker")

T = TypeVar("T")

HEARTBEAT = 10
"""Seconds. A dead peer is noticed after (heartbeat + 1) × 3 of them."""
CONNECT_TIMEOUT = 5.0
HURRY = 1.5
"""Seconds that a node has to take a connection while there are others that have not been tried: a frozen one lets in
whoever knocks, and says nothing."""
FAREWELL = 0.5
"""Seconds for the polite end of a connection that is given up: until then there is no other, and its node may be the
one that says nothing."""
ALIVE = 1.0
"""Seconds that a node has to take one more connection, where it is to show that it lives."""
BACK_OFF = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between attempts, ±20 %; the last repeats: a broker that is back is found within about two seconds."""

STEADY = 2.0
"""Seconds after which a connection counts as one that worked."""


def addresses(url: str) -> list[str]:
    """The URLs that `AMQP_URL` stands for: `amqp://u:p@a:5672,b:5673/vhost` names two nodes of a cluster.

    A heartbeat is added where the URL doesn't choose one. Raises ValueError when it is no AMQP URL.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("amqp", "amqps"):
        raise ValueError("AMQP_URL must look like amqp://user:password@host:5672/vhost")
    authority, slash, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    result = []
    for host in hosts.split(","):
        one = URL(f"{scheme}://{user}{at}{host.strip()}{slash}{path}")
        if "heartbeat" not in one.query:
            one = one.update_query(heartbeat=str(HEARTBEAT))
        result.append(str(one))
    return result


def redacted(url: str) -> str:
    """The URL without its password, for messages."""
    return str(URL(url).with_password(None).with_query(None))


async def answers(connection: AbstractConnection) -> bool:
    """Whether the node of a connection lives, whatever its queues wait for.

    It is asked by a connection of its own: RabbitMQ stops reading one whose publishes it can't get rid of.
    """
    try:
        async with asyncio.timeout(ALIVE):
            another = await aiormq.connect(connection.url)
            await another.close()
    except (OSError, TimeoutError, AMQPError):
        return False
    return True


async def rpc(call: Awaitable[T]) -> T:
    """Wait for the broker's answer to a method. Raises ConnectionError when its connection is closed meanwhile.

    aiormq then ends the wait by a cancellation, which would pass for one of our own and end the task without a word.
    """
    try:
        return await call
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ConnectionError("the connection was closed") from None


class Link:
    """Keeps one connection open until `stop`. `on_open` runs on each new connection, `on_lost` when it is gone."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        on_open: Callable[["Link", AbstractConnection], Awaitable[None]],
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._urls = addresses(url)
        self._name = name
        self._on_open = on_open
        self._on_lost = on_lost
        self._background = Background()
        self._broken: asyncio.Future[None] | None = None
        self._connection: AbstractConnection | None = None
        self.transport = Transport()
        """The open connection's, for whoever reads or writes frames past the library."""
        self.opened = asyncio.Event()
        self.error: str = "not connected yet"

    @property
    def is_open(self) -> bool:
        """Connected, and `on_open` has run to its end."""
        return self.opened.is_set()

    def start(self) -> None:
        """Begins to connect, in the background."""
        self._background.start(self._run(), name=f"amqp-{self._name}")

    async def stop(self) -> None:
        """Closes the connection; returns when it is closed."""
        await self._background.stop()

    def problems(self) -> list[str]:
        """Return why there will be no connection until the process starts again; empty when all is well."""
        return self._background.problems()

    def fail(self, reason: str) -> None:
        """Gives the connection up and opens another: for whoever finds out that it doesn't work any more."""
        self._fail(self._broken, reason)

    def _fail(self, broken: "asyncio.Future[None] | None", reason: str) -> None:
        """`broken`: of the connection that is meant, which may not be the present one any more."""
        if broken is not None and not broken.done():
            self.error = reason  # the first one: all others follow from it
            broken.set_result(None)

    def elsewhere(self, reason: str) -> None:
        """Gives the connection up if there is another node to try: this one is open, and of no use."""
        if self.is_open and len(self._urls) > 1:
            self.fail(reason)

    async def channel(self, connection: AbstractConnection, *, confirms: bool) -> AbstractChannel:
        """A new channel whose end ends the connection."""
        channel = await connection.channel(publisher_confirms=confirms, on_return_raises=True)
        broken = self._broken

        def closed(closing: "asyncio.Future[Any]") -> None:
            reason = None if closing.cancelled() else closing.exception()
            self._fail(broken, f"channel closed: {reason or 'no reason given'}")

        channel.closing.add_done_callback(closed)
        return channel

    async def _run(self) -> None:
        attempt = failed = 0
        nodes = len(self._urls)
        while True:
            url = self._urls[attempt % nodes]
            opened = False
            began = time.monotonic()
            try:
                opened = await self._hold(url, HURRY if failed < nodes - 1 else CONNECT_TIMEOUT)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self.error = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            # One that broke as soon as it was used is no success: without a pause it would break again and again.
            opened = opened and time.monotonic() - began > STEADY
            attempt += 1
            failed = 0 if opened else failed + 1
            log.warning("broker connection lost", extra={"link": self._name, "error": self.error})
            pause = 0.0 if opened else BACK_OFF[min(max(failed // nodes, 1), len(BACK_OFF)) - 1]
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret

    async def _hold(self, url: str, patience: float) -> bool:
        """Connects within `patience` seconds, sets up, waits for the end. True if it had been set up."""
        self._broken = broken = asyncio.get_running_loop().create_future()
        self.transport = Transport()
        async with asyncio.timeout(patience):
            self._connection = connection = await aiormq.connect(
                URL(url).update_query(name=f"crossdock {self._name}"), transport_factory=self.transport
            )
        closing = connection.closing
        closing.add_done_callback(lambda done: self._fail(broken, _reason(done)))
        ready = False
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT * 2):
                await self._on_open(self, connection)
            if not broken.done():
                ready = True
                self.opened.set()
                log.info("broker connected", extra={"link": self._name})
            await broken
        finally:
            self.opened.clear()
            self._connection = None
            if ready:
                self._on_lost()
            with suppress(Exception):
                async with asyncio.timeout(FAREWELL if broken.done() else CONNECT_TIMEOUT):
                    await connection.close()
            self.transport.cut()
        return ready


def _reason(closing: "asyncio.Future[Any]") -> str:
    if closing.cancelled():
        return "connection closed"
    error = closing.exception()
    return f"connection closed: {error!s}" if error and str(error) else "connection closed"
