"""Batch consumption: messages of one queue in lists, bounded by number, by bytes and by time.

Messages come straight from the frames (`broker.frames`) into a list that prefetch and a byte budget bound. Acks are by
hand and in order: everything of a batch at once with one frame, singled-out messages before it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from aiormq.exceptions import AMQPError

from broker.connection import Link, rpc
from broker.frames import Hot, Transport
from schemas import properties
from schemas.properties import Properties

CANCEL_TIMEOUT = 5.0
"""Seconds that the broker has to confirm the end of a consumer."""


class ByteBudget:
    """Bounds the bytes of the bodies that the consumers of one connection hold.

    At the limit the socket is not read any more, and so the broker stops sending; below half of it reading goes on. One
    message is always taken, whatever its size.
    """

    def __init__(self, limit: int) -> None:
        """`limit`: bytes."""
        self._limit = limit
        self._held = 0
        self._transport: Transport | None = None
        self._is_paused = False

    @property
    def held(self) -> int:
        """Bytes of the bodies that were received and are not settled."""
        return self._held

    @property
    def is_full(self) -> bool:
        """Whether reading is paused."""
        return self._is_paused

    def use(self, transport: Transport) -> None:
        """Pause and resume this connection's socket from now on."""
        if transport is not self._transport:  # one connection has several consumers
            self._transport = transport
            self._is_paused = False

    def add(self, size: int) -> None:
        """Count a body that was received."""
        self._held += size
        if self._held >= self._limit and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def remove(self, size: int) -> None:
        """Count bodies that were settled, or given back."""
        self._held -= size
        if self._is_paused and self._held <= self._limit // 2 and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()


class Session:
    """One consumer on one channel, from `basic.consume` until it is suspended or its connection is lost.

    What it delivered can be settled while it lasts; afterwards the broker delivers all of that again.
    """

    __slots__ = ("_budget", "_held", "channel", "is_over", "tag")

    def __init__(self, channel: AbstractChannel, budget: ByteBudget | None) -> None:
        self.channel = channel
        self.tag: str | None = None
        """The consumer's, once the broker has confirmed it."""
        self.is_over = False
        self._budget = budget
        self._held = 0

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it can be settled any more."""
        return self.is_over or self.channel.is_closed

    def receive(self, size: int) -> None:
        """Count a body against the budget."""
        if self._budget is not None and not self.is_over:
            self._held += size
            self._budget.add(size)

    def release(self, size: int) -> None:
        """Take settled bodies off the budget."""
        if self._budget is not None and not self.is_over:
            self._held -= size
            self._budget.remove(size)

    def end(self) -> None:
        """Forget what was delivered: the broker delivers it again."""
        if not self.is_over:
            self.release(self._held)
            self.is_over = True


class Delivery:
    """One message as delivered; its properties are read when they are first asked for."""

    __slots__ = ("_properties", "body", "encoded", "is_noted", "redelivered", "session", "tag")

    def __init__(self, session: Session, tag: int, redelivered: bool, encoded: bytes, body: bytes) -> None:
        self.session = session
        self.tag = tag
        self.redelivered = redelivered
        self.encoded = encoded
        """Property flags and list of the content header."""
        self.body = body
        self.is_noted = False
        """Whether its handler keeps a note of it (`workers.store.worker`)."""
        self._properties: Properties | None = None

    @property
    def channel(self) -> AbstractChannel:
        """The channel that it was delivered on."""
        return self.session.channel

    @property
    def properties(self) -> Properties:
        """Raises ValueError when they are broken."""
        if self._properties is None:
            self._properties = properties.read(self.encoded)
        return self._properties


class Consumer:
    """Consumes one queue on a channel of its own; hand `on_open` and `on_lost` to a Link."""

    def __init__(
        self,
        queue: str,
        *,
        prefetch: int,
        arguments: Callable[[], Mapping[str, Any]] = dict[str, Any],
        heard: Callable[[Delivery], object] | None = None,
        budget: ByteBudget | None = None,
        suspended: bool = False,
    ) -> None:
        """`prefetch`: messages held unacked at a time; quorum queues allow at most 2,000. `arguments`: of the consumer,
        asked on each connection. `heard`: told of each message in the turn that received it; then there is nothing to
        `take`. Must not raise. `budget`: bounds the bytes held. `suspended`: consume only after `resume`."""
        self._queue = queue
        self._prefetch = prefetch
        self._arguments = arguments
        self._heard = heard or self._keep
        self._budget = budget
        self._buffer: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._channel: AbstractChannel | None = None
        self._session: Session | None = None
        self._link: Link | None = None
        self._is_suspended = suspended

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
        self._end_session()  # of a connection that broke before it was set up
        channel = await link.channel(connection, confirms=False)
        await channel.basic_qos(prefetch_count=self._prefetch)
        channel.on_consumer_cancel_callbacks.add(lambda _: link.fail(f"consumer of {self._queue} cancelled"))
        self._channel = channel
        self._link = link
        if self._budget is not None:
            self._budget.use(link.transport)
        if not self._is_suspended:
            await self._consume(link, channel)

    async def _consume(self, link: Link, channel: AbstractChannel) -> None:
        session = self._session = Session(channel, self._budget)

        def received(tag: int, redelivered: bool, encoded: bytes, body: bytes) -> None:
            if self._session is session and not session.is_over:
                session.receive(len(body))
                self._heard(Delivery(session, tag, redelivered, encoded, body))

        link.transport.listen(channel.number, Hot(received, None, None))
        ok = await rpc(channel.basic_consume(self._queue, _elsewhere, arguments=dict(self._arguments())))
        session.tag = ok.consumer_tag

    def _keep(self, delivery: Delivery) -> None:
        self._buffer.append(delivery)
        self._arrived.set()

    def on_lost(self) -> None:
        """What was delivered and not taken is forgotten: the broker delivers it again."""
        self._channel = None
        self._end_session()

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end()
        self._buffer.clear()
        self._arrived.clear()

    def give_up(self, reason: str) -> None:
        """Opens another connection: the broker then delivers again all that this one holds unacked."""
        if self._link is not None:
            self._link.fail(reason)

    async def resume(self) -> None:
        """Consume from now on, also on later connections."""
        self._is_suspended = False
        link, channel = self._link, self._channel
        if self._session is None and link is not None and channel is not None and not channel.is_closed:
            try:
                await self._consume(link, channel)
            except Exception as error:
                # The connection breaks with its channel, and the next one consumes.
                link.fail(f"can't consume {self._queue}: {error}")

    async def suspend(self) -> None:
        """Give everything unsettled back to the queue and consume nothing until `resume`.

        A message that waits here for a long time would run into RabbitMQ's `consumer_timeout`, which closes the channel
        and counts a failed delivery for each message; one that waits in the queue runs into nothing.
        """
        self._is_suspended = True
        session, link = self._session, self._link
        was_full = self._budget is not None and self._budget.is_full
        self._end_session()
        if session is None or link is None or session.channel.is_closed:
            return
        if was_full or session.tag is None:
            # The answer to `basic.cancel` stands behind more than we want to read.
            link.fail(f"gives back what it holds of {self._queue}")
            return
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await rpc(session.channel.basic_cancel(session.tag, timeout=CANCEL_TIMEOUT))
                # Tag 0 with multiple: all that is unsettled on this channel. From 4.3 on no delivery is counted then.
                await session.channel.basic_nack(0, multiple=True, requeue=True, wait=False)
        except Exception as error:
            link.fail(f"can't give back what it holds of {self._queue}: {error or type(error).__name__}")

    async def peek(self) -> Delivery | None:
        """Return the next message of the queue, and give it back at once; None if there is none, or no connection.

        Only while nothing is consumed. RabbitMQ before 4.0 moves it to the end of the queue.
        """
        channel = self._channel
        if channel is None or channel.is_closed or self._session is not None:
            return None
        try:
            message = await rpc(channel.basic_get(self._queue, timeout=CANCEL_TIMEOUT))
            if not message.delivery_tag:
                return None
            await channel.basic_nack(message.delivery_tag, requeue=True, wait=False)
        except (OSError, TimeoutError, AMQPError) as error:
            # A message may be on its way here, unacknowledged, on the channel that the consumer will use.
            if self._link is not None:
                self._link.fail(f"can't look at {self._queue}: {error or type(error).__name__}")
            return None
        found = message.header.properties
        return Delivery(Session(channel, None), 0, True, found.marshal() if found else b"\0\0", message.body)

    async def cancel(self) -> None:
        """Takes no more; what has been taken can still be acked. What lies in the buffer goes back to the queue."""
        self._is_suspended = True
        session, self._session, self._channel = self._session, None, None
        if session is not None and session.tag is not None and not session.channel.is_closed:
            await session.channel.basic_cancel(session.tag, timeout=CANCEL_TIMEOUT)
        self._buffer.clear()

    async def take(self, limit: int, wait: float, max_bytes: int | None = None) -> list[Delivery]:
        """Waits for a first message, then at most `wait` seconds for company; at most `limit` of one session, and no
        more than `max_bytes` of bodies unless the first alone has more."""
        while True:
            while not self._buffer:
                self._arrived.clear()
                await self._arrived.wait()
            if len(self._buffer) < limit and wait > 0:
                await self._wait_for_more(limit, time.monotonic() + wait)
            if batch := self._next(limit, max_bytes):
                return batch  # empty if the session ended meanwhile

    async def _wait_for_more(self, limit: int, until: float) -> None:
        while len(self._buffer) < limit and (left := until - time.monotonic()) > 0:
            self._arrived.clear()
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                break

    def _next(self, limit: int, max_bytes: int | None) -> list[Delivery]:
        buffer = self._buffer
        if max_bytes is None:
            return [buffer.popleft() for _ in range(min(limit, len(buffer)))]
        batch: list[Delivery] = []
        size = 0
        while buffer and len(batch) < limit:
            size += len(buffer[0].body)
            if batch and size > max_bytes:
                break
            batch.append(buffer.popleft())
        return batch


async def _elsewhere(message: DeliveredMessage) -> None:
    """The library wants a callback; the frames it would be called for never reach it."""
    raise AssertionError(f"delivery {message.delivery_tag} went past broker.frames")


async def ack(batch: list[Delivery]) -> bool:
    """Acks a whole batch, taken in order, with one frame. Everything of the channel below it must be settled.

    False when the session is gone: the broker delivers the batch again, and whoever handles it must know it.
    """
    last = batch[-1]
    session = last.session
    if session.is_gone:
        return False
    await session.channel.basic_ack(last.tag, multiple=True, wait=False)
    session.release(sum([len(delivery.body) for delivery in batch]))
    return True


async def ack_one(delivery: Delivery) -> bool:
    """Acks one message alone. False when its session is gone."""
    session = delivery.session
    if session.is_gone:
        return False
    await session.channel.basic_ack(delivery.tag, wait=False)
    session.release(len(delivery.body))
    return True


async def fail_one(delivery: Delivery) -> bool:
    """Gives one message back as failed: unlike nack, that counts as a delivery on every RabbitMQ."""
    session = delivery.session
    if session.is_gone:
        return False
    await session.channel.basic_reject(delivery.tag, requeue=True, wait=False)
    session.release(len(delivery.body))
    return True
