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

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel, DeliveredMessage

from broker.connection import BrokerConnection, rpc
from broker.consumer import IncomingMessage, Session
from schemas import topology
from workers.runtime.outcomes import Outcome, Settled, UnavailableError

log = logging.getLogger("crossdock.store")

INTERVAL = 5.0
"""Seconds between two looks at queues that are empty in a healthy system."""
MAX_KEPT = 50
"""Messages in hand that can't be handled, after which the rest waits for the next look."""
TIMEOUT = 5.0
"""Seconds that the broker has to hand a message over."""

Handle = Callable[[Sequence[IncomingMessage]], Awaitable[Sequence[Outcome]]]
SetAside = Callable[[IncomingMessage, str], Awaitable[None]]


class Stations:
    """Takes messages out of both queues, one after the other; hand `on_open` and `on_lost` to a Link."""

    def __init__(self, handle: Handle, set_aside: SetAside, *, probe: Callable[[], Awaitable[None]]) -> None:
        """`handle`: stores one message or puts it into quarantine. `set_aside`: puts one that no queue took into
        quarantine, given its routing key. `probe`: raises UnavailableError while neither is possible."""
        self._handle = handle
        self._set_aside = set_aside
        self._probe = probe
        self._channel: AbstractChannel | None = None

    async def on_open(self, link: BrokerConnection, connection: AbstractConnection) -> None:
        """Opens a channel for taking."""
        self._channel = await link.channel(connection, confirms=False)

    def on_lost(self) -> None:
        """What was taken and not settled goes back to its queue."""
        self._channel = None

    async def run(self) -> None:
        """Take until it is cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            for queue in (topology.DEAD, topology.UNROUTED):
                if (channel := self._channel) is None:
                    break
                try:
                    await self._empty(channel, queue)
                except UnavailableError as error:
                    log.debug("way station waits", extra={"queue": queue, "reason": str(error)})
                except Exception as error:
                    # A connection that is lost, or a queue that isn't there yet: the link opens another.
                    log.warning(
                        "way station failed", extra={"queue": queue, "error": f"{type(error).__name__}: {error}"}
                    )

    async def _empty(self, channel: AbstractChannel, queue: str) -> None:
        """Take one message after the other until there is none. Those that can't be handled go back in the end, so that
        the others need not wait for them."""
        kept: list[int] = []
        try:
            while len(kept) < MAX_KEPT:
                message = await rpc(channel.basic_get(queue, timeout=TIMEOUT))
                tag = message.delivery_tag
                if not tag:
                    break
                kept.append(tag)
                await self._probe()
                if await self._settle(channel, queue, message):
                    await channel.basic_ack(tag, wait=False)
                    kept.remove(tag)
        finally:
            for tag in kept:
                with suppress(Exception):
                    await channel.basic_nack(tag, requeue=True, wait=False)

    async def _settle(self, channel: AbstractChannel, queue: str, message: DeliveredMessage) -> bool:
        properties = message.header.properties
        encoded = properties.marshal() if properties is not None else b"\0\0"
        # Redelivered: it may have been stored and not announced, and it may end whoever reads it.
        delivery = IncomingMessage(Session(channel, None), message.delivery_tag or 0, True, encoded, message.body)
        try:
            if queue == topology.UNROUTED:
                await self._set_aside(delivery, message.routing_key or "")
                return True
            (outcome,) = await self._handle([delivery])
        except UnavailableError as error:
            log.warning("held in a way station", extra={"queue": queue, "reason": str(error)})
            return False
        return outcome is Settled.DONE
