"""Batch consumption: messages of one queue in lists, bounded by size and by time.

Messages come straight from the frames (`broker.frames`) into a list that the prefetch bounds. Acks are by hand and in
order: everything of a batch at once with one frame, singled-out messages before it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from broker.connection import Link
from broker.frames import Hot
from schemas import properties
from schemas.properties import Properties


class Delivery:
    """One message as delivered; its properties are read when they are first asked for."""

    __slots__ = ("_properties", "body", "channel", "encoded", "redelivered", "tag")

    def __init__(self, channel: AbstractChannel, tag: int, redelivered: bool, encoded: bytes, body: bytes) -> None:
        self.channel = channel
        self.tag = tag
        self.redelivered = redelivered
        self.encoded = encoded
        """Property flags and list of the content header."""
        self.body = body
        self._properties: Properties | None = None

    @property
    def properties(self) -> Properties:
        """Raises ValueError when they are broken."""
        if self._properties is None:
            self._properties = properties.read(self.encoded)
        return self._properties

    @property
    def attempts(self) -> int:
        """Deliveries before this one that ended badly. RabbitMQ 3.10 says 0 on the first, 4.x leaves the header out."""
        if not self.redelivered:
            return 0
        try:
            count = self.properties.headers.get("x-delivery-count", 0)
        except ValueError:
            return 0
        return count if isinstance(count, int) else 0


class Consumer:
    """Consumes one queue on a channel of its own; hand `on_open` and `on_lost` to a Link."""

    def __init__(
        self,
        queue: str,
        *,
        prefetch: int,
        arguments: Callable[[], Mapping[str, Any]] = dict[str, Any],
        heard: Callable[[Delivery], object] | None = None,
    ) -> None:
        """`prefetch`: messages held unacked at a time; quorum queues allow at most 2,000. `arguments`: of the consumer,
        asked on each connection. `heard`: told of each message in the turn that received it; then there is nothing to
        `take`. Must not raise."""
        self._queue = queue
        self._prefetch = prefetch
        self._arguments = arguments
        self._heard = heard or self._keep
        self._buffer: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._channel: AbstractChannel | None = None
        self._tag: str | None = None
        self._link: Link | None = None

    @property
    def queue(self) -> str:
        """Name of the queue."""
        return self._queue

    @property
    def head(self) -> list[Delivery]:
        """The first message that was delivered and not taken yet, if there is one."""
        return [self._buffer[0]] if self._buffer else []

    async def on_open(self, link: Link, connection: AbstractConnection) -> None:
        """Starts to consume. The queue must exist: `crossdock topology apply` declares it."""
        channel = await link.channel(connection, confirms=False)
        await channel.basic_qos(prefetch_count=self._prefetch)
        channel.on_consumer_cancel_callbacks.add(lambda _: link.fail(f"consumer of {self._queue} cancelled"))
        self._channel = channel
        self._link = link

        def received(tag: int, redelivered: bool, encoded: bytes, body: bytes) -> None:
            if self._channel is channel:
                self._heard(Delivery(channel, tag, redelivered, encoded, body))

        link.transport.listen(channel.number, Hot(received, None, None))
        ok = await channel.basic_consume(self._queue, _elsewhere, arguments=dict(self._arguments()))
        self._tag = ok.consumer_tag

    def _keep(self, delivery: Delivery) -> None:
        self._buffer.append(delivery)
        self._arrived.set()

    def on_lost(self) -> None:
        """What was delivered and not taken is forgotten: the broker delivers it again."""
        self._channel = None
        self._tag = None
        self._buffer.clear()
        self._arrived.clear()

    def give_up(self, reason: str) -> None:
        """Opens another connection: the broker then delivers again all that this one holds unacked."""
        if self._link is not None:
            self._link.fail(reason)

    async def cancel(self) -> None:
        """Takes no more; what has been taken can still be acked. What lies in the buffer goes back to the queue."""
        channel, tag = self._channel, self._tag
        self._channel, self._tag = None, None
        if channel is not None and tag is not None and not channel.is_closed:
            await channel.basic_cancel(tag, timeout=5)
        self._buffer.clear()

    async def take(self, limit: int, wait: float) -> list[Delivery]:
        """Waits for a first message, then at most `wait` seconds for company; at most `limit` of one channel."""
        while not self._buffer:
            self._arrived.clear()
            await self._arrived.wait()
        if len(self._buffer) < limit and wait > 0:
            until = time.monotonic() + wait
            while len(self._buffer) < limit and (left := until - time.monotonic()) > 0:
                self._arrived.clear()
                try:
                    async with asyncio.timeout(left):
                        await self._arrived.wait()
                except TimeoutError:
                    break
        buffer = self._buffer
        return [buffer.popleft() for _ in range(min(limit, len(buffer)))]


async def _elsewhere(message: DeliveredMessage) -> None:
    """The library wants a callback; the frames it would be called for never reach it."""
    raise AssertionError(f"delivery {message.delivery_tag} went past broker.frames")


async def ack(batch: list[Delivery]) -> bool:
    """Acks a whole batch, taken in order, with one frame. Everything of the channel below it must be settled.

    False when the channel is gone: the broker delivers the batch again, and whoever handles it must know it.
    """
    last = batch[-1]
    if last.channel.is_closed:
        return False
    await last.channel.basic_ack(last.tag, multiple=True, wait=False)
    return True


async def ack_one(delivery: Delivery) -> bool:
    """Acks one message alone. False when its channel is gone."""
    if delivery.channel.is_closed:
        return False
    await delivery.channel.basic_ack(delivery.tag, wait=False)
    return True


async def fail_one(delivery: Delivery) -> bool:
    """Gives one message back as failed: unlike nack, that counts towards the delivery limit on every RabbitMQ."""
    if delivery.channel.is_closed:
        return False
    await delivery.channel.basic_reject(delivery.tag, requeue=True, wait=False)
    return True
