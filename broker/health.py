"""Decides from the confirms of one connection whether its node is still of use to a publisher."""

import asyncio
import time
from collections.abc import Callable

from aio_pika.exceptions import AMQPError
from aiormq.abc import AbstractConnection
from yarl import URL

from broker.connection import connect

NACK_TIMEOUT = 1.0
"""Seconds without a confirm, in which the broker refused messages with `basic.nack`, after which another node is tried.

A channel that was opened before a quorum queue had elected its new leader keeps sending to the dead leader (RabbitMQ
3.10), and so refuses messages that other channels would accept.
"""
PROBE_AFTER = 2.5
"""Seconds without a confirm after which the node is probed, and abandoned if it does not respond.

Together with the one second of the probe this is shorter than `[ingress] confirm_timeout`, so that the waiting messages
can still be confirmed by another node. Heartbeats detect a dead peer only after half a minute. A channel that has never
confirmed anything is abandoned without a probe.
"""
PROBE_TIMEOUT = 1.0
"""Seconds within which a node must accept a second connection to prove that it is alive."""
ABANDON_AFTER = 15.0
"""Seconds without a confirm after which even a node that responds, and has confirmed before, is abandoned.

Such a node waits for a queue leader on another node that is frozen or cut off. A new leader is elected within 10
seconds and notifies the channels that have published to the queue. A channel opened during that time sends to the old
leader until RabbitMQ declares that leader's node down after a minute (3.10). Staying on the channel is therefore the
fastest way to a confirm.
"""


class NodeHealth:
    """Reports that a node no longer accepts or confirms messages, if another one might."""

    __slots__ = (
        "_connection",
        "_due_since",
        "_has_confirmed",
        "_is_nacked",
        "_on_unhealthy",
        "_probe_task",
        "_probed_at",
    )

    def __init__(self, on_unhealthy: Callable[[str], None]) -> None:
        """`on_unhealthy`: called with the reason."""
        self._on_unhealthy = on_unhealthy
        self._connection: AbstractConnection | None = None
        self._due_since: float | None = None
        """When the current wait for a confirm began; None if no confirm is due.

        It begins with the first message that is sent while no confirm is due, and again with each confirm after which
        others are still due.
        """
        self._is_nacked = False
        """Whether the broker has refused a message since its last confirm."""
        self._has_confirmed = False
        """Whether the broker has confirmed a message on this connection."""
        self._probed_at = 0.0
        """When the node was last probed."""
        self._probe_task: asyncio.Task[None] | None = None

    def use(self, connection: AbstractConnection) -> None:
        """Judge this connection from now on."""
        self._connection = connection
        self._due_since, self._is_nacked, self._has_confirmed = None, False, False

    def on_lost(self) -> None:
        """Judge nothing until the next connection."""
        self._connection = self._due_since = None

    def sent(self) -> None:
        """Note that a message was sent, whose confirm is due."""
        if self._due_since is None:
            self._due_since = time.monotonic()

    def confirmed(self, *, accepted: bool, more_due: bool) -> None:
        """Note what the broker said of a message, and whether the confirms of others are due."""
        if accepted:
            self._due_since = time.monotonic() if more_due else None
            self._is_nacked, self._has_confirmed = False, True
        else:
            self._is_nacked = True

    def check(self, now: float) -> None:
        """Report that the node is unusable, or start a probe of it; call it regularly with the monotonic time."""
        since, connection = self._due_since, self._connection
        if since is None or connection is None:
            return
        if now - since > (NACK_TIMEOUT if self._is_nacked else ABANDON_AFTER if self._has_confirmed else PROBE_AFTER):
            self._due_since = now
            self._on_unhealthy("the broker refuses every message" if self._is_nacked else "the broker confirms nothing")
        elif now - max(since, self._probed_at) > PROBE_AFTER:
            self._probed_at = now
            self._probe_task = asyncio.get_running_loop().create_task(
                self._probe(connection, since), name="publisher-probe"
            )

    async def stop(self) -> None:
        """End a probe that is under way."""
        if self._probe_task is not None:
            self._probe_task.cancel()
            await asyncio.gather(self._probe_task, return_exceptions=True)

    async def _probe(self, connection: AbstractConnection, since: float) -> None:
        is_responding = await _is_alive(connection.url)
        if not is_responding and self._connection is connection and self._due_since == since:
            self._on_unhealthy("the broker doesn't answer")


async def _is_alive(url: URL) -> bool:
    """Return whether the node at `url` is alive, even if its queues are blocked.

    The probe opens a second connection, because RabbitMQ stops reading a connection whose publishes it cannot pass on.
    """
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            another = await connect(url)
            await another.close()
    except (OSError, TimeoutError, AMQPError):
        return False
    return True
