"""Reads the depths of queues again and again over one connection, as a page that people watch needs them."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError

from broker import topology
from broker.commands import open_first
from broker.connection import describe, rpc
from broker.declare import TopologyError

TIMEOUT = 2.0
"""Maximum seconds for reading all depths, with connecting."""
IDLE = 60.0
"""Seconds without a reading after which the connection is closed."""
MISSING_PAUSE = 600.0
"""Seconds after which a missing queue is queried again, because RabbitMQ logs an error for each query."""

Depths = dict[str, tuple[int, int]]
"""Ready messages and consumers by queue name."""


class UnknownDepthsError(Exception):
    """The broker did not say how deep its queues are; the text states why."""


class DepthReader:
    """Keeps a connection while depths are read, because RabbitMQ logs each that is opened and closed.

    Not for use by several tasks at once.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AbstractConnection | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._missing: dict[str, float] = {}
        """When queues that did not exist are queried again, by `time.monotonic`."""

    async def read(self, more: Iterable[str], *, shards: int) -> Depths:
        """Return the depths of our own queues and of those of `more` that exist, as `topology.depths` does.

        Raises UnknownDepthsError within TIMEOUT seconds.
        """
        if self._idle is not None:
            self._idle.cancel()
        now = time.monotonic()
        self._missing = {name: until for name, until in self._missing.items() if until > now}
        names = [name for name in more if name not in self._missing]
        # This is a separate task because aiormq may turn a cancellation that reaches it into an error, or swallow it.
        reading = asyncio.get_running_loop().create_task(self._read(names, shards), name="read-depths")
        try:
            done, _ = await asyncio.wait((reading,), timeout=TIMEOUT)
            if not done:
                raise UnknownDepthsError(f"RabbitMQ does not answer within {TIMEOUT:.0f} s.")
            depths = reading.result()
        except (OSError, AMQPError, TopologyError) as error:
            self._close_soon()
            raise UnknownDepthsError(describe(error) if isinstance(error, AMQPError) else str(error)) from None
        except BaseException:
            reading.add_done_callback(lambda late: late.cancelled() or late.exception())
            reading.cancel()
            self._close_soon()
            raise
        self._missing |= {name: now + MISSING_PAUSE for name in names if name not in depths}
        self._idle = asyncio.get_running_loop().call_later(IDLE, self._close_soon)
        return depths

    async def close(self) -> None:
        """Close the connection if there is one."""
        if self._idle is not None:
            self._idle.cancel()
        self._close_soon()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _read(self, names: Iterable[str], shards: int) -> Depths:
        if self._connection is None or self._connection.is_closed:
            self._connection = await open_first(self._url)
        return await rpc(topology.depths_over(self._connection, names, shards=shards))

    def _close_soon(self) -> None:
        """Close the connection beside everything else: a broker that does not answer does not answer the closing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            task = asyncio.get_running_loop().create_task(_close(connection), name="close-depths")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _close(connection: AbstractConnection) -> None:
    with suppress(OSError, TimeoutError, AMQPError):
        async with asyncio.timeout(TIMEOUT):
            await connection.close()
