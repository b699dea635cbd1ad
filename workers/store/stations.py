"""Empties the way stations `crossdock.dead` and `crossdock.unrouted` while the database is available.

A message in `crossdock.dead` is not to blame for that: RabbitMQ put it there because it had been delivered often, which
killed workers and lost connections cause as well as a message that ends its reader. It is handled alone, like a
redelivered message, and is stored unless it is itself the cause. A message in `crossdock.unrouted` matched no queue: it
goes to quarantine, from where a person replays it.
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
from workers.runtime.outcomes import Outcome, UnavailableError

log = logging.getLogger("crossdock.store")

INTERVAL = 5.0
"""Seconds between two attempts to empty the queues, which are empty in a healthy system."""
MAX_KEPT = 50
"""Maximum number of unsettled messages that can't be handled; after that, the rest waits for the next attempt."""
TIMEOUT = 5.0
"""Maximum seconds to wait for the broker to deliver a message."""

Handle = Callable[[Sequence[IncomingMessage]], Awaitable[Sequence[Outcome]]]
QuarantineUnroutable = Callable[[IncomingMessage, str], Awaitable[None]]


class Stations:
    """Takes messages out of both queues, one at a time. A BrokerConnection must call `on_open` and `on_lost`."""

    def __init__(
        self, handle: Handle, quarantine_unroutable: QuarantineUnroutable, *, probe: Callable[[], Awaitable[None]]
    ) -> None:
        """`handle` stores one message or quarantines it. `quarantine_unroutable` quarantines one that no queue took,
        given its routing key. `probe` raises UnavailableError while neither is possible.
        """
        self._handle = handle
        self._quarantine_unroutable = quarantine_unroutable
        self._probe = probe
        self._channel: AbstractChannel | None = None

    async def on_open(self, link: BrokerConnection, connection: AbstractConnection) -> None:
        """Open the channel on which messages are taken."""
        self._channel = await link.channel(connection, confirms=False)

    def on_lost(self) -> None:
        """Stop using the channel; the broker returns unsettled messages to their queues."""
        self._channel = None

    async def run(self) -> None:
        """Empty both queues regularly, until cancelled."""
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
                    # The connection is lost, or the queue doesn't exist yet: another connection will be opened.
                    log.warning(
                        "way station failed", extra={"queue": queue, "error": f"{type(error).__name__}: {error}"}
                    )

    async def _empty(self, channel: AbstractChannel, queue: str) -> None:
        """Take one message at a time until the queue is empty.

        Messages that can't be handled are returned at the end, so that the others need not wait for them.
        """
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
        """Handle one message, and return whether it is done."""
        properties = message.header.properties
        encoded = properties.marshal() if properties is not None else b"\0\0"
        # As redelivered: it may have been stored and not announced, and it may end the process that reads it.
        received = IncomingMessage(Session(channel, None), message.delivery_tag or 0, True, encoded, message.body)
        try:
            if queue == topology.UNROUTED:
                await self._quarantine_unroutable(received, message.routing_key or "")
                return True
            (outcome,) = await self._handle([received])
        except UnavailableError as error:
            log.warning("held in a way station", extra={"queue": queue, "reason": str(error)})
            return False
        return outcome is Outcome.DONE
