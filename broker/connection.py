"""One AMQP connection that is kept open and reopened when it fails.

aio-pika provides the connection and its heartbeats. This module adds what a service needs on top of them: several hosts
in one URL, reconnection with back-off, and one hook (`on_open`) in which everything that lives on the connection is set
up again. When a channel closes, its connection is closed too, so that there is only one way to fail and only one way to
recover.

aio-pika's own `connect_robust` is not used: it knows one URL, retries at a fixed interval without jitter, declares
everything again silently, and cannot leave a node that is alive but unusable.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import aio_pika
import aiormq.abc
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError
from yarl import URL

from broker.frames import Transport
from telemetry.background import Background

log = logging.getLogger("crossdock.broker")

T = TypeVar("T")

LONGEST_VHOST = 255
"""Bytes of the longest name that AMQP can express."""
HEARTBEAT = 10
"""Heartbeat interval in seconds; a dead peer is detected after (heartbeat + 1) × 3 seconds."""
CONNECT_TIMEOUT = 5.0
FAST_CONNECT_TIMEOUT = 1.5
"""Connect timeout in seconds while other nodes are untried.

A frozen node still accepts TCP connections, so only a timeout reveals it.
"""
CLOSE_TIMEOUT = 0.5
"""Maximum seconds to close a failed connection cleanly.

No new connection is opened until then, and the node may be one that no longer responds.
"""
BACK_OFF = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between attempts, ±20 %; the last value repeats.

A broker that has recovered is therefore found within about two seconds.
"""

REMOTE_ERRORS = (OSError, EOFError, AMQPError)
"""Errors of the broker and of the network."""

STABLE_AFTER = 2.0
"""Seconds that a connection must last, counted from the start of the attempt, to count as successful."""
VIRTUAL_HOST = (
    "the virtual host in AMQP_URL does not exist, this user may not use it, or its connection limit is reached"
)


def addresses(url: str) -> list[str]:
    """Return one URL for each node that `AMQP_URL` names.

    `amqp://u:p@a:5672,b:5673/vhost` names two nodes of a cluster. A heartbeat interval is added if the URL does not set
    one. Raises ValueError if `url` is not a valid AMQP URL.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("amqp", "amqps"):
        raise ValueError("AMQP_URL must look like amqp://user:password@host:5672/vhost")
    authority, slash, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    result = []
    for host in hosts.split(","):
        node = URL(f"{scheme}://{user}{at}{host.strip()}{slash}{path}")
        if len(node.path.removeprefix("/").encode()) > LONGEST_VHOST:
            raise ValueError(f"the virtual host in AMQP_URL is longer than {LONGEST_VHOST} bytes")
        if "heartbeat" not in node.query:
            node = node.update_query(heartbeat=str(HEARTBEAT))
        result.append(str(node))
    return result


def redacted(url: str) -> str:
    """Return the URL without its password and query, for messages."""
    return str(URL(url).with_password(None).with_query(None))


def describe(error: BaseException) -> str:
    """Return the error's type and text; for a refused virtual host, what may be wrong with it.

    RabbitMQ answers `Connection.Open` with `Connection.Close` and a reason, of which aiormq keeps only an object's
    address: "Expected one of ['Connection.OpenOk'], got <Connection.Close object at 0x…>".
    """
    if isinstance(error, AMQPError) and "'Connection.OpenOk'" in str(error):
        return f"NOT_ALLOWED: {VIRTUAL_HOST}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def underlay(connection: AbstractConnection) -> aiormq.abc.AbstractConnection:
    """Return the aiormq connection that carries an aio-pika connection; raises ConnectionError if it is closed."""
    if connection.transport is None:
        raise ConnectionError("the connection is closed")
    return connection.transport.connection


class _Connection(aio_pika.Connection):
    """aio-pika's connection with our frame reader between the socket and the library."""

    def __init__(self, url: URL, transport: Transport) -> None:
        super().__init__(url)
        # `aio_pika.connect` passes on the parameters that it knows, and `transport_factory` is not one of them.
        self.kwargs["transport_factory"] = transport


async def connect(url: str | URL) -> AbstractConnection:
    """Open a connection that is closed when it cannot be established; raises OSError and AMQPError.

    aio-pika leaves such a connection to its destructor, which makes a coroutine that nothing awaits.
    """
    connection = aio_pika.Connection(URL(url))
    try:
        await connection.connect()
    except BaseException:
        await connection.close()
        raise
    return connection


async def rpc(call: Awaitable[T]) -> T:
    """Wait for the broker's reply to a method call.

    Raises ConnectionError if the connection is closed in the meantime. In that case aiormq cancels the wait. Such a
    cancellation looks like a cancellation of our own task and would end the task silently.
    """
    try:
        return await call
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ConnectionError("the connection was closed") from None


class BrokerConnection:
    """Keeps one connection open until `stop` is called.

    `on_open` runs on each new connection, and `on_lost` when a connection that was set up has ended.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        on_open: Callable[["BrokerConnection", AbstractConnection], Awaitable[None]],
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._urls = addresses(url)
        self._name = name
        self._on_open = on_open
        self._on_lost = on_lost
        self._background = Background()
        self._broken: asyncio.Future[None] | None = None
        self.transport = Transport()
        """Transport of the current connection, for components that read or write frames past the library."""
        self.opened = asyncio.Event()
        self.error: str = "not connected yet"
        self.defect: Exception | None = None
        """The last error, if it came from neither the broker nor the network: then waiting does not help."""

    @property
    def is_open(self) -> bool:
        """Whether the connection is open and `on_open` has completed."""
        return self.opened.is_set()

    def start(self) -> None:
        """Start connecting in the background."""
        self._background.start(self._run(), name=f"amqp-{self._name}")

    async def stop(self) -> None:
        """Close the connection and return when it is closed."""
        await self._background.stop()

    def problems(self) -> list[str]:
        """Return why no connection will be opened until the process restarts; empty if nothing is wrong."""
        return self._background.problems()

    def fail(self, reason: str) -> None:
        """Close the connection and open another one, because a caller found that it no longer works."""
        self._fail(self._broken, reason)

    def _fail(self, broken: "asyncio.Future[None] | None", reason: str) -> None:
        """Fail the connection that `broken` belongs to, which may no longer be the current one."""
        if broken is not None and not broken.done():
            self.error = reason  # only the first reason is kept, because all later ones follow from it
            broken.set_result(None)

    def switch_node(self, reason: str) -> None:
        """Switch to another node, if there is one, because this connection is open but unusable."""
        if self.is_open and len(self._urls) > 1:
            self.fail(reason)

    async def channel(self, connection: AbstractConnection, *, confirms: bool) -> aiormq.abc.AbstractChannel:
        """Open a channel, and return the aiormq channel below it, which the fast path uses.

        If the channel closes, its connection is closed too.
        """
        broken = self._broken
        channel = await connection.channel(publisher_confirms=confirms, on_return_raises=confirms)

        def closed(closing: "asyncio.Future[None]") -> None:
            reason = None if closing.cancelled() else closing.exception()
            self._fail(broken, f"channel closed: {reason or 'no reason given'}")

        # aio-pika would run `close_callbacks` in a task, after the loop turn in which the channel closed.
        underlay_channel = await channel.get_underlay_channel()
        underlay_channel.closing.add_done_callback(closed)
        return underlay_channel

    async def _run(self) -> None:
        attempt = failed = 0
        nodes = len(self._urls)
        while True:
            url = self._urls[attempt % nodes]
            opened = False
            began = time.monotonic()
            try:
                opened = await self._hold(url, FAST_CONNECT_TIMEOUT if failed < nodes - 1 else CONNECT_TIMEOUT)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self.note(error)
            # A connection that broke on first use is not a success: without a pause it would break again and again.
            opened = opened and time.monotonic() - began > STABLE_AFTER
            attempt += 1
            failed = 0 if opened else failed + 1
            log.warning("broker connection lost", extra={"link": self._name, "error": self.error})
            pause = 0.0 if opened else BACK_OFF[min(max(failed // nodes, 1), len(BACK_OFF)) - 1]
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret

    def note(self, error: Exception) -> None:
        """Note why the connection failed. An error of our own, which is retried like the others, is logged once."""
        self.error = describe(error)
        is_known = type(error) is type(self.defect)
        self.defect = None if isinstance(error, REMOTE_ERRORS) else error
        if self.defect is not None and not is_known:
            log.error("broker connection can't be set up", extra={"link": self._name}, exc_info=error)

    async def _hold(self, url: str, patience: float) -> bool:
        """Connect within `patience` seconds, set the connection up, and wait until it ends.

        Returns whether the set-up had completed.
        """
        self._broken = broken = asyncio.get_running_loop().create_future()
        self.transport = Transport()
        connection = _Connection(URL(url).update_query(name=f"crossdock {self._name}"), self.transport)
        try:
            async with asyncio.timeout(patience):
                await connection.connect()
        except BaseException:
            self.transport.cut()  # a connection that was opened too late must not stay open
            await connection.close()  # marks it as closed, or its destructor would start a task that closes it
            raise
        underlay(connection).closing.add_done_callback(lambda done: self._fail(broken, _reason(done)))
        ready = False
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT * 2):
                await self._on_open(self, connection)
            if not broken.done():
                ready = True
                self.defect = None
                self.opened.set()
                log.info("broker connected", extra={"link": self._name})
            await broken
        finally:
            self.opened.clear()
            if ready:
                self._on_lost()
            await self._close(connection, CLOSE_TIMEOUT if broken.done() else CONNECT_TIMEOUT)
        return ready

    async def _close(self, connection: AbstractConnection, patience: float) -> None:
        """Close a connection, and cut it off if the node does not confirm that within `patience` seconds.

        A timeout would not end aio-pika's `close`, which waits in its `finally` until the library's tasks have ended.
        They end when the socket is gone.
        """
        transport = self.transport
        cut = asyncio.get_running_loop().call_later(patience, transport.cut)
        try:
            with suppress(Exception):
                await connection.close()
        finally:
            cut.cancel()
            transport.cut()


def _reason(closing: "asyncio.Future[None]") -> str:
    if closing.cancelled():
        return "connection closed"
    error = closing.exception()
    return f"connection closed: {error!s}" if error and str(error) else "connection closed"
