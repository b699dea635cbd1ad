"""Burst publishing: the fast way from a coroutine to the broker's confirm.

Requests that publish in the same turn of the loop are collected; one task takes the channel's lock once, gives each
message its delivery tag, registers its future where the library looks for confirms, and writes one block of frames.
The connection, its heartbeats, the reader and the confirms stay the library's. Measured against one `basic_publish` a
message: 4 to 6 times the rate.

Every `publish` ends within its timeout, in a confirm or in an error. What was sent and not confirmed when a connection
was lost is sent again, with the same message id, on the next one: a lost confirm is ambiguous, and every step behind
the queue may be repeated.
"""

import asyncio
import logging
import struct
import time
from collections import deque
from typing import Any, cast

import pamqp.frame
from aiormq.abc import AbstractChannel, ChannelFrame
from aiormq.channel import Channel
from aiormq.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic

log = logging.getLogger("crossdock.broker")

WINDOW = 1000
"""Confirms outstanding at a time: the library scans all of them for each multiple ack."""
MAX_WAITING = 20_000
"""Messages collected and not yet sent. Beyond, publishing fails at once rather than eat memory."""
METHODS_KEPT = 10_000
"""Encoded Basic.Publish frames remembered, one an exchange and routing key."""
STOP_TIMEOUT = 3.0
"""Seconds to wait for confirms when told to stop."""
GRACE = 1.0
"""Seconds that a publish waits for a connection that was just lost, before it fails."""

_CONTENT = struct.Struct(">BHIHHQ")
_BODY = struct.Struct(">BHI")
_END = b"\xce"


class Unavailable(Exception):
    """The message is not safe with the broker: no connection, no confirm in time, a refusal. Publish it again."""


class Unroutable(Unavailable):
    """No queue wanted the message. `crossdock topology apply` declares what is missing."""


class _Entry:
    __slots__ = ("body", "deadline", "exchange", "future", "key", "message_id", "properties")

    def __init__(
        self, exchange: str, key: str, properties: bytes, message_id: str, body: bytes, deadline: float
    ) -> None:
        self.exchange = exchange
        self.key = key
        self.properties = properties
        self.message_id = message_id
        self.body = body
        self.deadline = deadline
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Publisher:
    """Publishes on one channel of one `Link`; call `use` from its `on_open` and hand it `on_lost`."""

    def __init__(self, *, confirm_timeout: float) -> None:
        """`confirm_timeout`: seconds from `publish` to its confirm."""
        self._timeout = confirm_timeout
        self._waiting: deque[_Entry] = deque()
        self._sent: deque[_Entry] = deque()
        self._methods: dict[tuple[str, str], bytes] = {}
        self._channel: Channel | None = None
        self._wake = asyncio.Event()
        self._lost_at = 0.0
        self._flusher: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.bursts = 0
        self.published = 0

    @property
    def outstanding(self) -> int:
        """Messages collected or sent, and not confirmed."""
        return len(self._waiting) + len(self._sent)

    def use(self, channel: AbstractChannel) -> None:
        """Publishes on a new connection's channel, which must have confirms and be used for nothing slow.

        Whatever must stand on the channel before the first message (a reply consumer) has been set up already.
        """
        channel = cast(Channel, channel)
        self._methods.clear()
        self._channel = channel
        loop = asyncio.get_running_loop()
        if self._flusher is not None:
            self._flusher.cancel()
        self._flusher = loop.create_task(self._flush(channel), name="publisher-flush")
        if self._sweeper is None:
            self._sweeper = loop.create_task(self._sweep(), name="publisher-sweep")
        self._wake.set()

    def on_lost(self) -> None:
        """The connection is gone: what was sent and not confirmed waits to be sent again."""
        self._channel = None
        self._lost_at = time.monotonic()
        if self._flusher is not None:
            self._flusher.cancel()
            self._flusher = None
        again = [entry for entry in self._sent if not entry.future.done()]
        self._sent.clear()
        self._waiting.extendleft(reversed(again))

    async def stop(self) -> None:
        """Waits for outstanding confirms, in bounded time, then ends the tasks."""
        pending = [entry.future for entry in (*self._waiting, *self._sent) if not entry.future.done()]
        if pending and self._channel is not None:
            await asyncio.wait(pending, timeout=min(self._timeout, STOP_TIMEOUT))
        tasks = [task for task in (self._flusher, self._sweeper) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail_all("shutting down")

    def publish(
        self, exchange: str, key: str, properties: bytes, message_id: str, body: bytes
    ) -> "asyncio.Future[Any]":
        """Persistence and headers are in `properties`: the encoded property flags and list of a content header.

        Mandatory. The future ends in the broker's confirm, or in Unavailable or Unroutable, within the timeout.
        `message_id` must be unique among what is outstanding: the broker's returns are matched by it.
        """
        now = time.monotonic()
        if self._channel is None and now - self._lost_at > GRACE:
            raise Unavailable("no connection to the broker")
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too many messages wait for the broker")
        entry = _Entry(exchange, key, properties, message_id, body, now + self._timeout)
        self._waiting.append(entry)
        self._wake.set()
        return entry.future

    async def _flush(self, channel: Channel) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._make_room()
                    async with channel.lock:
                        block = self._block(channel)
                        if block:
                            self.bursts += 1
                            await channel.write_queue.put(ChannelFrame(payload=block, should_close=False))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # The link sees the same closed channel and opens another connection; on_lost puts the rest back.
            log.info("publisher stopped", extra={"error": str(error)})

    async def _make_room(self) -> None:
        sent = self._sent
        while sent and sent[0].future.done():
            sent.popleft()
        while len(sent) >= WINDOW:
            await asyncio.wait([sent[0].future])
            while sent and sent[0].future.done():
                sent.popleft()

    def _block(self, channel: Channel) -> bytes:
        """Frames of as many waiting messages as the window has room for, registered for their confirms."""
        parts: list[bytes] = []
        number = channel.number
        limit = channel.max_content_size
        confirmations, tags = channel.confirmations, channel.message_id_delivery_tag
        tag = channel.delivery_tag
        waiting, sent = self._waiting, self._sent
        while waiting and len(sent) < WINDOW:
            entry = waiting.popleft()
            if entry.future.done():
                continue
            tag += 1
            confirmations[tag] = entry.future
            tags[entry.message_id] = tag
            sent.append(entry)
            method = self._methods.get((entry.exchange, entry.key))
            if method is None:
                method = self._method(number, entry.exchange, entry.key)
            body, properties = entry.body, entry.properties
            size = len(body)
            parts += (method, _CONTENT.pack(2, number, 12 + len(properties), 60, 0, size), properties, _END)
            if size <= limit:
                if size:
                    parts += (_BODY.pack(3, number, size), body, _END)
            else:
                for start in range(0, size, limit):
                    piece = body[start : start + limit]
                    parts += (_BODY.pack(3, number, len(piece)), piece, _END)
            entry.future.add_done_callback(_Forget(tags, entry.message_id, tag))
        self.published += tag - channel.delivery_tag
        channel.delivery_tag = tag
        return b"".join(parts)

    def _method(self, number: int, exchange: str, key: str) -> bytes:
        if len(self._methods) >= METHODS_KEPT:
            self._methods.clear()  # reply addresses come and go with their connections
        frame = Basic.Publish(exchange=exchange, routing_key=key, mandatory=True)
        method = self._methods[exchange, key] = pamqp.frame.marshal(frame, number)
        return method

    async def _sweep(self) -> None:
        """Ends what is past its time. All share one timeout, so the oldest stand first."""
        while True:
            await asyncio.sleep(min(0.1, self._timeout / 4))
            now = time.monotonic()
            if self._channel is None and now - self._lost_at > GRACE:
                self._fail_all("no connection to the broker")
            for queue in (self._sent, self._waiting):
                while queue and (queue[0].future.done() or queue[0].deadline <= now):
                    entry = queue.popleft()
                    if not entry.future.done():
                        entry.future.set_exception(Unavailable("no confirm from the broker in time"))

    def _fail_all(self, reason: str) -> None:
        for queue in (self._sent, self._waiting):
            while queue:
                entry = queue.popleft()
                if not entry.future.done():
                    entry.future.set_exception(Unavailable(reason))


class _Forget:
    """Drops the message id once its fate is known; remembers the refusal in our own terms."""

    __slots__ = ("message_id", "tag", "tags")

    def __init__(self, tags: dict[str, int], message_id: str, tag: int) -> None:
        self.tags = tags
        self.message_id = message_id
        self.tag = tag

    def __call__(self, future: "asyncio.Future[Any]") -> None:
        if self.tags.get(self.message_id) == self.tag:
            del self.tags[self.message_id]
        if not future.cancelled():
            future.exception()  # retrieved: a waiter that went away is no error


def explain(error: BaseException) -> Unavailable:
    """The library's two ways to say no, as ours: a return is Unroutable, a nack is Unavailable."""
    if isinstance(error, PublishError):
        return Unroutable("no queue wanted the message: run `crossdock topology apply`")
    if isinstance(error, DeliveryError):
        return Unavailable("the broker refused the message (a queue is full or has lost its leader)")
    return error if isinstance(error, Unavailable) else Unavailable(str(error) or type(error).__name__)
