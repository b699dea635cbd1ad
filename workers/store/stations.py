"""Empties `crossdock.dead` and `crossdock.unrouted`, the way stations of the broker, while the database is available.

A message in `crossdock.dead` is not guilty of anything: RabbitMQ put it there because it had been delivered often,
which killed workers and lost connections do as well as poison. It is handled alone, like one that comes again, and is
stored unless it is itself the reason. A message in `crossdock.unrouted` was wanted by no queue: it goes to quarantine,
from where a person sends it to where it was to go.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from broker.connection import Link
from broker.consumer import Delivery, Session
from schemas import topology
from workers.runtime.outcomes import Outcome, Settled, UnavailableError

log = logging.getLogger("crossdock.store")

INTERVAL = 5.0
"""Seconds between two looks at queues that are empty in a healthy system."""
TIMEOUT = 5.0
"""Seconds that the broker has to hand a message over."""

Handle = Callable[[Sequence[Delivery]], Awaitable[Sequence[Outcome]]]
SetAside = Callable[[Delivery, str], Awaitable[None]]


class Stations:
    """Takes messages out of both queues, one after the other; hand `on_open` and `on_lost` to a Link."""

    def __init__(self, handle: Handle, set_aside: SetAside, *, probe: Callable[[], Awaitable[None]]) -> None:
        """`handle`: stores one message or puts it into quarantine. `set_aside`: puts one that no queue took into
        quarantine, given its routing key. `probe`: raises UnavailableError while neither is possible."""
        self._handle = handle
        self._set_aside = set_aside
        self._probe = probe
        self._channel: AbstractChannel | None = None

    async def on_open(self, link: Link, connection: AbstractConnection) -> None:
        """Opens a channel for taking."""
        self._channel = await link.channel(connection, confirms=False)

    def on_lost(self) -> None:
        """What was taken and not settled goes back to its queue."""
        self._channel = None

    async def run(self) -> None:
        """Take until it is cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            channel = self._channel
            if channel is None:
                continue
            try:
                while await self._take(channel, topology.DEAD) or await self._take(channel, topology.UNROUTED):
                    pass
            except UnavailableError as error:
                log.debug("way stations wait", extra={"reason": str(error)})
            except Exception as error:
                # A connection that is lost, or a queue that isn't there yet: the link opens another.
                log.warning("way station failed", extra={"error": f"{type(error).__name__}: {error}"})

    async def _take(self, channel: AbstractChannel, queue: str) -> bool:
        """Take one message and settle it; False if there is none."""
        message = await channel.basic_get(queue, timeout=TIMEOUT)
        if not message.delivery_tag:
            return False
        try:
            await self._probe()
            done = await self._settle(channel, queue, message)
        except BaseException:
            with suppress(Exception):
                await channel.basic_nack(message.delivery_tag, requeue=True, wait=False)
            raise
        if not done:
            await channel.basic_nack(message.delivery_tag, requeue=True, wait=False)
            raise UnavailableError(f"a message of {queue} is held")
        await channel.basic_ack(message.delivery_tag, wait=False)
        return True

    async def _settle(self, channel: AbstractChannel, queue: str, message: DeliveredMessage) -> bool:
        properties = message.header.properties
        encoded = properties.marshal() if properties is not None else b"\0\0"
        # Redelivered: it may have been stored and not announced, and it may end whoever reads it.
        delivery = Delivery(Session(channel, None), message.delivery_tag or 0, True, encoded, message.body)
        if queue == topology.UNROUTED:
            await self._set_aside(delivery, message.routing_key or "")
            return True
        (outcome,) = await self._handle([delivery])
        return outcome is Settled.DONE
