"""Burst publishing: the fast path from a coroutine to the broker's confirm.

Messages published in the same turn of the event loop are sent as a few blocks of frames, and a confirm completes their
futures in the turn that received it; no task and no queue lies in between. Everything else about the connection,
including its heartbeats, is left to the library. This is 4 to 6 times as fast as one `basic_publish` per message
(measured).

Every `publish` ends within its timeout, with a confirm or an error. Messages that were sent and not confirmed when a
connection was lost are sent again on the next one, with the same message id: whether a lost confirm was positive is
unknown, and every step after the queue may safely be repeated.
"""

import asyncio
import logging
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import takewhile

from aiormq.abc import AbstractChannel

from broker.blocks import BlockEncoder
from broker.frames import ChannelHandlers, Received, Transport
from broker.health import NodeHealth
from broker.outgoing import (
    BatchFuture,
    BrokerUnavailableError,
    ConfirmListener,
    Outgoing,
    PendingPublish,
    TooLargeError,
    UnroutableError,
)
from schemas import properties as encoded
from telemetry.background import Background

log = logging.getLogger("crossdock.broker")

MAX_UNCONFIRMED_MESSAGES = 2000
"""Maximum number of unconfirmed messages.

Further messages wait in this process, where they can still time out, rather than in the socket buffer.
"""
MAX_UNSENT_BYTES = 4 * 1024 * 1024
"""Maximum bytes that the socket has not accepted; further messages wait in this process.

When this is reached, the broker has stopped reading because of a memory or disk alarm.
"""
MAX_UNSENT_MESSAGES = 20_000
"""Maximum number of messages waiting to be sent; beyond it, publishing fails at once to save memory."""
FLUSH_EARLY = 16
"""Number of waiting messages that are sent at once instead of at the end of the loop turn.

The broker then processes them while we create the next ones. Smaller blocks cost the broker more per message; with much
larger blocks, publisher and broker alternate instead of overlapping.
"""
STOP_TIMEOUT = 3.0
"""Maximum seconds that `stop` waits for outstanding confirms."""
RECONNECT_GRACE = 1.0
"""Seconds after the loss of a connection during which a publish waits for the next one before it fails."""

_TOO_LARGE = re.compile(r"message size \d+ is larger than (?:configured )?max size (\d+)")
"""RabbitMQ's reason for closing a channel on which a body exceeded `max_message_size`.

The limit (16 MiB by default since RabbitMQ 4.0) is not announced over AMQP, so this is the only way to learn it.
"""
_TOO_MANY_BYTES = "too many bytes wait for the broker"
_UNROUTABLE = "the message matches no queue: run `crossdock topology apply`"
_NACKED = "the broker refused the message (a queue is full or has lost its leader)"


class Publisher:
    """Publishes on one channel of one `BrokerConnection`; call `use` in its `on_open`, and pass it `on_lost`."""

    def __init__(
        self,
        *,
        confirm_timeout: float,
        on_unhealthy: Callable[[str], None] = lambda reason: None,
        max_held_bytes: int = sys.maxsize,
    ) -> None:
        """Configure the publisher; nothing is sent until `use` is called.

        - `confirm_timeout`: maximum seconds from `publish` to the confirm.
        - `on_unhealthy`: called with the reason when the broker no longer accepts or confirms messages and another node
          might.
        - `max_held_bytes`: maximum bytes of message bodies that wait for their confirms, and that `hold` reserves.
        """
        self.max_held_bytes = max_held_bytes
        self.held_bytes = 0
        """Bytes of the bodies that are accepted and not yet confirmed, and of those that `hold` counts."""
        self.max_message_size: int | None = None
        """The largest body that the broker accepts, known once it has refused one.

        It is reset when the connection is lost for any other reason.
        """
        self.was_closed_for_size = False
        """Whether the last channel was closed because a message was too large; reset when the next one is used."""
        self._timeout = confirm_timeout
        self._health = NodeHealth(on_unhealthy)
        self._unsent: deque[PendingPublish] = deque()
        self._sent: dict[int, PendingPublish] = {}
        """The unconfirmed messages by delivery tag, which is the order in which they were sent."""
        self._transport: Transport | None = None
        self._encoder: BlockEncoder | None = None
        self._is_scheduled = False
        self._lost_at = 0.0
        self._background = Background()
        self._is_sweeping = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def outstanding(self) -> int:
        """Number of messages that are waiting or sent, and not confirmed."""
        return len(self._unsent) + len(self._sent)

    def use(self, transport: Transport, channel: AbstractChannel, received: Received | None = None) -> None:
        """Publish on a new connection's channel, which must have confirms enabled and no other publisher.

        Whatever must exist on the channel before the first message must be set up already, such as a reply consumer,
        whose messages are passed to `received`.
        """
        if self._sent:
            self.on_lost()  # its tags belong to another channel, so their confirms can no longer arrive
        self.was_closed_for_size = False
        self._encoder = BlockEncoder(channel)
        self._health.use(channel.connection)
        transport.listen(channel.number, ChannelHandlers(received, self._confirmed, self._returned))
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        channel.closing.add_done_callback(self._on_channel_closed)
        if not self._is_sweeping:
            self._is_sweeping = True
            self._background.start(self._sweep(), name="publisher-sweep")
        self._flush()

    def problems(self) -> list[str]:
        """Return why nothing can be published until the process restarts; empty if nothing is wrong."""
        return self._background.problems()

    def on_lost(self) -> None:
        """Handle the loss of the connection: unconfirmed messages wait to be sent again on the next one."""
        self._transport = None
        self._health.on_lost()
        self._lost_at = time.monotonic()
        if not self.was_closed_for_size:
            self.max_message_size = None  # the next broker, or this one after a restart, may accept larger bodies
        for entry in reversed(self._sent.values()):
            if entry.listener.done():
                self.held_bytes -= len(entry.body)
            else:
                self._unsent.appendleft(entry)
        self._sent.clear()

    async def stop(self) -> None:
        """Wait for the confirms of messages that were published with a future, for a bounded time, then stop."""
        listeners = {entry.listener for entry in (*self._unsent, *self._sent.values()) if not entry.listener.done()}
        results = {listener.future if isinstance(listener, BatchFuture) else listener for listener in listeners}
        pending = {result for result in results if isinstance(result, asyncio.Future)}
        if pending and self._transport is not None:
            await asyncio.wait(pending, timeout=min(self._timeout, STOP_TIMEOUT))
        await self._background.stop()
        await self._health.stop()
        self._transport = None
        self._fail_all("shutting down")

    def publish(
        self, exchange: str, key: str, properties: bytes, message_id: str, body: bytes
    ) -> "asyncio.Future[None]":
        """Publish one message (see `Outgoing`) and return the future of its confirm.

        The message is mandatory unless it is an answer. The future ends within the timeout: with the broker's confirm,
        or with BrokerUnavailableError or one of its subclasses. Raises the same errors if the message cannot be
        accepted.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = self._loop.create_future()
        self.publish_for(future, exchange, key, properties, message_id, body)
        return future

    def publish_for(
        self, listener: ConfirmListener, exchange: str, key: str, properties: bytes, message_id: str, body: bytes
    ) -> None:
        """Publish like `publish`, for a caller's own listener; `stop` waits for futures only."""
        _, deadline = self._accept(len(body), len(body))
        self._unsent.append(PendingPublish(exchange, key, properties, message_id, body, deadline, listener))
        if len(self._unsent) >= FLUSH_EARLY:
            self._flush()

    def publish_all(self, messages: Iterable[Outgoing]) -> "asyncio.Future[None]":
        """Publish at least one message and return one future, which ends with the last confirm or the first error.

        Raises TooLargeError, and publishes none of them, if a body is known to be larger than the broker accepts.
        Raises BrokerUnavailableError if they cannot be accepted.
        """
        messages = list(messages)
        sizes = [len(message.body) for message in messages]
        loop, deadline = self._accept(sum(sizes), max(sizes))
        burst = BatchFuture(len(messages), loop.create_future())
        self._unsent += [
            PendingPublish(exchange, key, properties, message_id, body, deadline, burst)
            for exchange, key, properties, message_id, body in messages
        ]
        return burst.future

    def hold(self, size: int) -> None:
        """Count a body against `max_held_bytes` until `release`, in addition to what publishing it counts.

        The ingress holds a body whose sender waits for an answer until the request has ended. Raises
        BrokerUnavailableError if the limit would be exceeded.
        """
        if self.held_bytes + size > self.max_held_bytes:
            raise BrokerUnavailableError(_TOO_MANY_BYTES)
        self.held_bytes += size

    def release(self, size: int) -> None:
        """Stop counting a body that `hold` counted."""
        self.held_bytes -= size

    def _accept(self, size: int, largest: int) -> tuple[asyncio.AbstractEventLoop, float]:
        """Accept bodies of `size` bytes in total, and return the event loop and their deadline.

        The messages are sent at the end of the loop turn. Raises TooLargeError or BrokerUnavailableError if they cannot
        be accepted.
        """
        if self.max_message_size is not None and largest > self.max_message_size:
            raise TooLargeError(largest, self.max_message_size)
        now = time.monotonic()
        if self._transport is None and now - self._lost_at > RECONNECT_GRACE:
            raise BrokerUnavailableError("no connection to the broker")
        if len(self._unsent) >= MAX_UNSENT_MESSAGES:
            raise BrokerUnavailableError("too many messages wait for the broker")
        held_bytes = self.held_bytes + size
        if held_bytes > self.max_held_bytes:
            raise BrokerUnavailableError(_TOO_MANY_BYTES)
        self.held_bytes = held_bytes
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._end_of_turn)
        return loop, now + self._timeout

    def _end_of_turn(self) -> None:
        """Send the messages that remain at the end of the loop turn."""
        self._is_scheduled = False
        self._flush()

    def _flush(self) -> None:
        """Send waiting messages as far as the window and the socket have room; their confirms flush again."""
        transport, encoder, sent = self._transport, self._encoder, self._sent
        while transport is not None and encoder is not None and self._unsent and len(sent) < MAX_UNCONFIRMED_MESSAGES:
            if not 0 <= transport.unsent <= MAX_UNSENT_BYTES:
                return
            block, dropped = encoder.encode(self._unsent, sent, MAX_UNCONFIRMED_MESSAGES - len(sent))
            self.held_bytes -= dropped
            if block:  # else the callers of all of them have stopped waiting
                transport.write(block)
                self._health.sent()

    def _confirmed(self, tag: int, multiple: bool, accepted: bool) -> None:
        sent = self._sent
        tags = list(takewhile(tag.__ge__, sent)) if multiple else (tag,)
        for confirmed in tags:
            entry = sent.pop(confirmed, None)
            if entry is None:
                continue
            self.held_bytes -= len(entry.body)
            if entry.listener.done():
                continue
            if accepted:
                entry.listener.set_result(None)
            else:
                entry.fail(BrokerUnavailableError(_NACKED))
        self._health.confirmed(accepted=accepted, more_due=bool(sent))
        if self._unsent and not self._is_scheduled:
            self._flush()

    def _returned(self, properties: bytes) -> None:
        name = encoded.decode(properties).message_id
        for entry in self._sent.values():
            if entry.message_id == name:
                entry.fail(UnroutableError(_UNROUTABLE))

    async def _sweep(self) -> None:
        """Fail the messages whose deadline has passed; with one timeout for all, the oldest come first."""
        while True:
            await asyncio.sleep(min(0.1, self._timeout / 4))
            now = time.monotonic()
            if self._transport is None and now - self._lost_at > RECONNECT_GRACE:
                self._fail_all("no connection to the broker")
            for tag in [tag for tag, entry in self._sent.items() if entry.deadline <= now]:
                self._drop(self._sent.pop(tag), BrokerUnavailableError("no confirm from the broker in time"))
            while self._unsent and (self._unsent[0].listener.done() or self._unsent[0].deadline <= now):
                self._drop(self._unsent.popleft(), BrokerUnavailableError("no confirm from the broker in time"))
            self._flush()
            self._health.check(now)

    def _fail_all(self, reason: str) -> None:
        for entry in (*self._sent.values(), *self._unsent):
            self._drop(entry, BrokerUnavailableError(reason))
        self._sent.clear()
        self._unsent.clear()

    def _drop(self, entry: PendingPublish, error: BrokerUnavailableError) -> None:
        """Fail an entry that was removed from both the waiting and the sent messages."""
        self.held_bytes -= len(entry.body)
        entry.fail(error)

    def _on_channel_closed(self, closing: "asyncio.Future[None]") -> None:
        """Learn the broker's size limit from the reason why the channel closed, and fail only larger messages.

        Runs before `on_lost`, which then prepares all other messages to be sent again on the next connection.
        """
        error = None if closing.cancelled() else closing.exception()
        match = _TOO_LARGE.search(str(error)) if error is not None else None
        if match is None:
            return
        self.was_closed_for_size = True
        limit = self.max_message_size = int(match[1])
        log.warning("the broker refused a message because of its size", extra={"limit": limit})
        for entry in (*self._sent.values(), *self._unsent):
            if len(entry.body) > limit:
                entry.fail(TooLargeError(len(entry.body), limit))
