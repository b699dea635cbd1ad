"""Batch consumption: take the messages of one queue in lists, bounded by count, bytes and time.

Messages are read directly from the frames (`broker.frames`) into a list, which the prefetch limit and a byte budget
bound. Acks are explicit and in order: one frame acknowledges a whole batch, after the messages that are settled
individually.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.common import FieldTable

from broker.connection import BrokerConnection, rpc
from broker.frames import ChannelHandlers, Transport
from schemas import properties
from schemas.properties import Properties

CANCEL_TIMEOUT = 5.0
"""Seconds within which the broker must confirm that a consumer has been cancelled."""


class ByteBudget:
    """Limits how many bytes of message bodies the consumers of one connection hold.

    At the limit the socket is no longer read, so the broker stops sending; reading resumes once at most half of the
    limit is held. One message is always accepted, whatever its size.
    """

    def __init__(self, limit: int) -> None:
        """Create a budget of `limit` bytes."""
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
        """Whether the limit was reached and reading is paused."""
        return self._is_paused

    def use(self, transport: Transport) -> None:
        """Pause and resume this connection's socket from now on."""
        if transport is not self._transport:  # a connection can have several consumers
            self._transport = transport
            self._is_paused = False

    def add(self, size: int) -> None:
        """Count a body that was received."""
        self._held += size
        if self._held >= self._limit and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def remove(self, size: int) -> None:
        """Stop counting bodies that were settled or given back."""
        self._held -= size
        if self._is_paused and self._held <= self._limit // 2 and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()


class Session:
    """One consumer on one channel, from `basic.consume` until it is suspended or its connection is lost.

    The messages that it delivered can be settled only during that time; afterwards the broker delivers them again.
    """

    __slots__ = ("_budget", "_held", "channel", "has_ended", "tag")

    def __init__(self, channel: AbstractChannel, budget: ByteBudget | None) -> None:
        self.channel = channel
        self.tag: str | None = None
        """The consumer tag, once the broker has confirmed the consumer."""
        self.has_ended = False
        self._budget = budget
        self._held = 0

    @property
    def is_gone(self) -> bool:
        """Whether messages of this session can no longer be settled."""
        return self.has_ended or self.channel.is_closed

    def receive(self, size: int) -> None:
        """Count a body against the budget."""
        if self._budget is not None and not self.has_ended:
            self._held += size
            self._budget.add(size)

    def release(self, size: int) -> None:
        """Remove settled bodies from the budget."""
        if self._budget is not None and not self.has_ended:
            self._held -= size
            self._budget.remove(size)

    def end(self) -> None:
        """End the session and release its bytes; the broker delivers its unsettled messages again."""
        if not self.has_ended:
            self.release(self._held)
            self.has_ended = True


class IncomingMessage:
    """One message as received from the queue; its properties are parsed on first access."""

    __slots__ = ("_properties", "body", "encoded", "redelivered", "session", "tag", "was_tried")

    def __init__(self, session: Session, tag: int, redelivered: bool, encoded: bytes, body: bytes) -> None:
        self.session = session
        self.tag = tag
        self.redelivered = redelivered
        self.encoded = encoded
        """The encoded property flags and property list of the content header."""
        self.body = body
        self.was_tried = False
        """Whether the handler has tried this message before, so that it may be stored (`workers.store.intake`)."""
        self._properties: Properties | None = None

    @property
    def channel(self) -> AbstractChannel:
        """The channel on which the message was received."""
        return self.session.channel

    @property
    def properties(self) -> Properties:
        """The parsed properties; raises ValueError if they are malformed."""
        if self._properties is None:
            self._properties = properties.read(self.encoded)
        return self._properties


class Consumer:
    """Consumes one queue on its own channel; pass `on_open` and `on_lost` to a BrokerConnection."""

    def __init__(
        self,
        queue: str,
        *,
        prefetch: int,
        arguments: Callable[[], FieldTable] = dict,
        on_message: Callable[[IncomingMessage], object] | None = None,
        budget: ByteBudget | None = None,
        suspended: bool = False,
    ) -> None:
        """Configure the consumer; it starts when the BrokerConnection calls `on_open`.

        - `prefetch`: maximum number of unacknowledged messages; quorum queues allow at most 2,000.
        - `arguments`: returns the arguments of `basic.consume`; called each time that consuming starts.
        - `on_message`: called with each message in the loop turn that received it, and must not raise; there is then
          nothing to `take`.
        - `budget`: limits the bytes held.
        - `suspended`: do not consume until `resume` is called.
        """
        self._queue = queue
        self._prefetch = prefetch
        self._arguments = arguments
        self._on_message = on_message or self._keep
        self._budget = budget
        self._buffer: deque[IncomingMessage] = deque()
        self._arrived = asyncio.Event()
        self._channel: AbstractChannel | None = None
        self._session: Session | None = None
        self._broker_connection: BrokerConnection | None = None
        self._is_suspended = suspended

    @property
    def queue(self) -> str:
        """Name of the consumed queue."""
        return self._queue

    @property
    def head(self) -> list[IncomingMessage]:
        """The first message that was received and not yet taken, in a list; empty if there is none."""
        return [self._buffer[0]] if self._buffer else []

    @property
    def waiting(self) -> int:
        """Number of messages that were received and not yet taken."""
        return len(self._buffer)

    async def on_open(self, broker_connection: BrokerConnection, connection: AbstractConnection) -> None:
        """Start consuming the queue, which must exist: `crossdock topology apply` declares it."""
        self._end_session()  # of a connection that broke during set-up
        channel = await broker_connection.channel(connection, confirms=False)
        await channel.basic_qos(prefetch_count=self._prefetch)
        channel.on_consumer_cancel_callbacks.add(
            lambda _: broker_connection.fail(f"consumer of {self._queue} cancelled")
        )
        self._channel = channel
        self._broker_connection = broker_connection
        if self._budget is not None:
            self._budget.use(broker_connection.transport)
        if not self._is_suspended:
            await self._consume(broker_connection, channel)

    async def _consume(self, broker_connection: BrokerConnection, channel: AbstractChannel) -> None:
        session = self._session = Session(channel, self._budget)

        def received(tag: int, redelivered: bool, encoded: bytes, body: bytes) -> None:
            if self._session is session and not session.has_ended:
                session.receive(len(body))
                self._on_message(IncomingMessage(session, tag, redelivered, encoded, body))

        broker_connection.transport.listen(channel.number, ChannelHandlers(received, None, None))
        ok = await rpc(channel.basic_consume(self._queue, _unexpected, arguments=self._arguments()))
        session.tag = ok.consumer_tag

    def _keep(self, message: IncomingMessage) -> None:
        self._buffer.append(message)
        self._arrived.set()

    def on_lost(self) -> None:
        """Discard the messages that were received and not taken; the broker delivers them again."""
        self._channel = None
        self._end_session()

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end()
        self._buffer.clear()
        self._arrived.clear()

    def reconnect(self, reason: str) -> None:
        """Open another connection, so that the broker redelivers all unacknowledged messages of this one."""
        if self._broker_connection is not None:
            self._broker_connection.fail(reason)

    async def resume(self) -> None:
        """Start consuming now, and on all later connections."""
        self._is_suspended = False
        broker_connection, channel = self._broker_connection, self._channel
        if self._session is None and broker_connection is not None and channel is not None and not channel.is_closed:
            try:
                await self._consume(broker_connection, channel)
            except Exception as error:
                # The failed channel takes its connection down, and the next connection consumes.
                broker_connection.fail(f"can't consume {self._queue}: {error}")

    async def suspend(self) -> None:
        """Return all unsettled messages to the queue and consume nothing until `resume` is called.

        A message held here for a long time would exceed RabbitMQ's `consumer_timeout`, which closes the channel and
        counts a failed delivery for each message. A message that waits in the queue has no such limit.
        """
        self._is_suspended = True
        session, broker_connection = self._session, self._broker_connection
        was_full = self._budget is not None and self._budget.is_full
        self._end_session()
        if session is None or broker_connection is None or session.channel.is_closed:
            return
        if was_full or session.tag is None:
            # The reply to `basic.cancel` comes after more messages than we want to read.
            broker_connection.fail(f"returning the messages held of {self._queue}")
            return
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await rpc(session.channel.basic_cancel(session.tag, timeout=CANCEL_TIMEOUT))
                # Tag 0 with `multiple` means every unsettled message of this channel. RabbitMQ 4.3 and later do not
                # count this as a failed delivery.
                await session.channel.basic_nack(0, multiple=True, requeue=True, wait=False)
        except Exception as error:
            broker_connection.fail(f"can't return the messages held of {self._queue}: {error or type(error).__name__}")

    async def peek(self) -> IncomingMessage | None:
        """Return the next message of the queue and requeue it at once.

        Returns None if the queue is empty, if there is no connection, or while the queue is being consumed. RabbitMQ
        before 4.0 moves the message to the end of the queue.
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
            # The message may still arrive, unacknowledged, on the channel that the consumer is going to use.
            if self._broker_connection is not None:
                self._broker_connection.fail(f"can't peek at {self._queue}: {error or type(error).__name__}")
            return None
        received = message.header.properties
        encoded = received.marshal() if received else b"\0\0"
        return IncomingMessage(Session(channel, None), 0, True, encoded, message.body)

    async def cancel(self) -> None:
        """Stop consuming; messages that were already taken can still be acknowledged.

        Messages that were received and not taken are discarded here; they return to the queue when the channel closes.
        """
        self._is_suspended = True
        session, self._session, self._channel = self._session, None, None
        if session is not None and session.tag is not None and not session.channel.is_closed:
            await session.channel.basic_cancel(session.tag, timeout=CANCEL_TIMEOUT)
        self._buffer.clear()

    async def take(self, limit: int, wait: float, max_bytes: int | None = None) -> list[IncomingMessage]:
        """Wait for a first message, then at most `wait` seconds for the batch to fill; return the batch.

        A batch holds at most `limit` messages of one session, and at most `max_bytes` bytes of bodies unless its first
        message alone is larger.
        """
        while True:
            while not self._buffer:
                self._arrived.clear()
                await self._arrived.wait()
            if len(self._buffer) < limit and wait > 0:
                await self._wait_for_more(limit, time.monotonic() + wait)
            batch = self._next(limit, max_bytes)
            if batch:  # there is nothing left if the session ended during the wait
                return batch

    async def _wait_for_more(self, limit: int, until: float) -> None:
        while len(self._buffer) < limit and (left := until - time.monotonic()) > 0:
            self._arrived.clear()
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                break

    def _next(self, limit: int, max_bytes: int | None) -> list[IncomingMessage]:
        buffer = self._buffer
        if max_bytes is None:
            return [buffer.popleft() for _ in range(min(limit, len(buffer)))]
        batch: list[IncomingMessage] = []
        size = 0
        while buffer and len(batch) < limit:
            size += len(buffer[0].body)
            if batch and size > max_bytes:
                break
            batch.append(buffer.popleft())
        return batch


async def _unexpected(message: DeliveredMessage) -> None:
    """Placeholder that aiormq requires; the frame reader handles deliveries before they reach it."""
    raise AssertionError(f"delivery {message.delivery_tag} went past broker.frames")


async def ack(batch: list[IncomingMessage]) -> bool:
    """Acknowledge a whole batch, taken in order, with one frame.

    All earlier messages of the channel must be settled already. Returns False if the session has ended: the broker then
    delivers the batch again, and the handler must recognise it.
    """
    last = batch[-1]
    session = last.session
    if session.is_gone:
        return False
    await session.channel.basic_ack(last.tag, multiple=True, wait=False)
    session.release(sum([len(message.body) for message in batch]))
    return True


async def ack_one(message: IncomingMessage) -> bool:
    """Acknowledge a single message; return False if its session has ended."""
    session = message.session
    if session.is_gone:
        return False
    await session.channel.basic_ack(message.tag, wait=False)
    session.release(len(message.body))
    return True
