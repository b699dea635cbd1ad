"""Burst publishing: the fast way from a coroutine to the broker's confirm.

Messages published in the same turn of the loop leave as a few blocks of frames, and a confirm ends their
futures in the turn that received it; no task and no queue in between. The connection, its heartbeats and all else stay
the library's. Measured against one `basic_publish` a message: 4 to 6 times the rate.

Every `publish` ends within its timeout, in a confirm or in an error. What was sent and not confirmed when a connection
was lost is sent again, with the same message id, on the next one: a lost confirm is ambiguous, and every step behind
the queue may be repeated.
"""

import asyncio
import logging
import re
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any

import pamqp.frame
from aiormq.abc import AbstractChannel, AbstractConnection
from pamqp.commands import Basic

from broker.connection import answers
from broker.frames import Hot, Received, Transport
from broker.outgoing import Burst, Entry, Outgoing, TooLargeError, Unavailable, UnencodableError, Unroutable, Waiter
from broker.replies import REPLY_TO
from schemas import properties as encoded
from telemetry.background import Background

log = logging.getLogger("crossdock.broker")

WINDOW = 2000
"""Confirms outstanding at a time: beyond, messages wait here, where they can still be given up, and not in a socket."""
MAX_UNSENT = 4 * 1024 * 1024
"""Bytes the socket has not taken; beyond, the broker has stopped reading (a memory or disk alarm) and messages wait."""
MAX_WAITING = 20_000
"""Messages collected and not yet sent. Beyond, publishing fails at once rather than eat memory."""
EARLY = 16
"""Messages that are not kept for the end of the turn: the broker works on them while we make the next ones. Fewer cost
it more for each; with many more we and it take turns, and both wait."""
METHODS_KEPT = 10_000
"""Encoded Basic.Publish frames remembered, one an exchange and routing key."""
STOP_TIMEOUT = 3.0
"""Seconds to wait for confirms when told to stop."""
GRACE = 1.0
"""Seconds that a publish waits for a connection that was just lost, before it fails."""
REFUSED = 1.0
"""Seconds of nothing but refusals after which another node is tried. A channel that was opened before a quorum queue
had elected its new leader asks the dead one for ever (RabbitMQ 3.10), and refuses what others would take."""
SILENT = 2.5
"""Seconds without any answer after which the node is asked whether it lives, and left if it doesn't: with the second
that takes less than `[ingress] confirm_timeout`, so that what waits is still confirmed elsewhere; dead peers are
noticed by heartbeats only after half a minute. A channel that has never confirmed anything is left without asking."""
STUCK = 15.0
"""Seconds without any answer after which a node that lives, and has confirmed before, is left too. It waits for a
queue's leader on another node, which is frozen or cut off. A new one is elected within 10 s, and tells the channels
that have published to the queue; one that is opened now asks the old leader, until RabbitMQ gives that one's node up
after a minute (3.10). So whoever stays is confirmed soonest."""

_CONTENT = struct.Struct(">BHIHHQ")
_HEADER_SIZE = 12
"""Bytes of a content header before its properties."""
_BODY = struct.Struct(">BHI")
_END = b"\xce"
_TOO_LARGE = re.compile(r"message size \d+ is larger than (?:configured )?max size (\d+)")
"""RabbitMQ's reason for closing a channel on which a body exceeded `max_message_size`. The limit (16 MiB by default
from 4.0 on) is not announced over AMQP, so this is the only way to learn it."""
_FULL = "too many bytes wait for the broker"
_NO_QUEUE = "no queue wanted the message: run `crossdock topology apply`"
_REFUSED = "the broker refused the message (a queue is full or has lost its leader)"


class Publisher:
    """Publishes on one channel of one `Link`; call `use` from its `on_open` and hand it `on_lost`."""

    def __init__(
        self,
        *,
        confirm_timeout: float,
        useless: Callable[[str], None] = lambda reason: None,
        max_held: int = sys.maxsize,
    ) -> None:
        """`confirm_timeout`: seconds from `publish` to its confirm. `useless` is told when the broker takes nothing any
        more, with the reason: another node might. `max_held`: bytes of bodies that may wait for their confirms."""
        self.max_held = max_held
        self.held = 0
        """Bytes of the bodies that were collected or sent, and are not confirmed."""
        self.max_message_size: int | None = None
        """The largest body that the broker accepts, once it has refused one; forgotten with the connection."""
        self.lost_by_size = False
        """Whether the channel was closed because of the size of a message; until the next one is used."""
        self._timeout = confirm_timeout
        self._useless = useless
        self._waiting: deque[Entry] = deque()
        self._sent: dict[int, Entry] = {}
        """By delivery tag, which is the order they were sent in."""
        self._tag = 0
        self._number = 0
        self._limit = 0
        self._methods: dict[tuple[str, str], bytes] = {}
        self._transport: Transport | None = None
        self._scheduled = False
        self._lost_at = 0.0
        self._asked_at: float | None = None
        """When the first message was sent of those since the last confirm; None: there is none."""
        self._refused = False
        """The broker has refused one since its last confirm."""
        self._proven = False
        """The broker has confirmed something on this connection."""
        self._connection: AbstractConnection | None = None
        self._looked_at = 0.0
        """When the node was last asked whether it lives."""
        self._looking: asyncio.Task[None] | None = None
        self._background = Background()
        self._is_sweeping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.bursts = 0
        self.published = 0

    @property
    def outstanding(self) -> int:
        """Messages collected or sent, and not confirmed."""
        return len(self._waiting) + len(self._sent)

    def use(self, transport: Transport, channel: AbstractChannel, received: Received | None = None) -> None:
        """Publishes on a new connection's channel, which must have confirms and publish nothing else.

        Whatever must stand on the channel before the first message (a reply consumer, whose deliveries go to
        `received`) has been set up already.
        """
        if self._sent:
            self.on_lost()  # its tags are of another channel: their confirms can't come any more
        self.lost_by_size = False
        self._methods.clear()
        self._number = channel.number
        self._limit = channel.connection.connection_tune.frame_max - 8
        self._tag = 0
        self._asked_at, self._refused, self._proven = None, False, False
        self._connection = channel.connection
        transport.listen(channel.number, Hot(received, self._confirmed, self._returned))
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        channel.closing.add_done_callback(self._closed)
        if not self._is_sweeping:
            self._is_sweeping = True
            self._background.start(self._sweep(), name="publisher-sweep")
        self._flush()

    def problems(self) -> list[str]:
        """Return why nothing can be published any more until the process starts again; empty when all is well."""
        return self._background.problems()

    def on_lost(self) -> None:
        """The connection is gone: what was sent and not confirmed waits to be sent again."""
        self._transport = self._connection = self._asked_at = None
        self._lost_at = time.monotonic()
        if not self.lost_by_size:
            self.max_message_size = None  # the next broker, or this one after a restart, may accept more
        for entry in reversed(self._sent.values()):
            if entry.waiter.done():
                self.held -= len(entry.body)
            else:
                self._waiting.appendleft(entry)
        self._sent.clear()

    async def stop(self) -> None:
        """Waits for the outstanding confirms that somebody has a future for, in bounded time, then ends."""
        left = {entry.waiter for entry in (*self._waiting, *self._sent.values()) if not entry.waiter.done()}
        found = {one.future if isinstance(one, Burst) else one for one in left}
        pending = {one for one in found if isinstance(one, asyncio.Future)}
        if pending and self._transport is not None:
            await asyncio.wait(pending, timeout=min(self._timeout, STOP_TIMEOUT))
        await self._background.stop()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self._transport = None
        self._fail_all("shutting down")

    def publish(
        self, exchange: str, key: str, properties: bytes, message_id: str, body: bytes
    ) -> "asyncio.Future[Any]":
        """One `Outgoing`. Mandatory, unless it is an answer. The future ends in the broker's confirm, or in Unavailable
        or one of its subclasses, within the timeout. Raises the same."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = self._loop.create_future()
        self.publish_for(future, exchange, key, properties, message_id, body)
        return future

    def publish_for(
        self, waiter: Waiter, exchange: str, key: str, properties: bytes, message_id: str, body: bytes
    ) -> None:
        """`publish` for a waiter of the caller's own; `stop` waits for futures only."""
        _, deadline = self._admit(len(body), len(body))
        self._waiting.append(Entry(exchange, key, properties, message_id, body, deadline, waiter))
        if len(self._waiting) >= EARLY:
            self._flush()

    def publish_all(self, messages: Iterable[Outgoing]) -> "asyncio.Future[Any]":
        """Many, with one future, which ends in the last confirm or in the first error. At least one. Raises
        TooLargeError, and publishes none, if one is known to be larger than the broker accepts."""
        messages = list(messages)
        sizes = [len(message.body) for message in messages]
        loop, deadline = self._admit(sum(sizes), max(sizes))
        burst = Burst(len(messages), loop.create_future())
        self._waiting += [
            Entry(exchange, key, properties, message_id, body, deadline, burst)
            for exchange, key, properties, message_id, body in messages
        ]
        return burst.future

    def hold(self, size: int) -> None:
        """Count a body that will be published later against `max_held`, until `release`. Raises Unavailable."""
        if self.held + size > self.max_held:
            raise Unavailable(_FULL)
        self.held += size

    def release(self, size: int) -> None:
        """Take a body that was held off the count; call right before it is published."""
        self.held -= size

    def _admit(self, size: int, largest: int) -> tuple[asyncio.AbstractEventLoop, float]:
        """Whether bodies of `size` bytes altogether may be published now; their loop and their deadline. They leave at
        the end of the turn."""
        if self.max_message_size is not None and largest > self.max_message_size:
            raise TooLargeError(largest, self.max_message_size)
        now = time.monotonic()
        if self._transport is None and now - self._lost_at > GRACE:
            raise Unavailable("no connection to the broker")
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too many messages wait for the broker")
        held = self.held + size
        if held > self.max_held:
            raise Unavailable(_FULL)
        self.held = held
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._end_of_turn)
        return loop, now + self._timeout

    def _end_of_turn(self) -> None:
        """Sends what is left of the turn's."""
        self._scheduled = False
        self._flush()

    def _flush(self) -> None:
        """Sends what waits, as far as the window and the socket have room; their confirms flush again."""
        transport = self._transport
        while transport is not None and self._waiting and len(self._sent) < WINDOW:
            if not 0 <= transport.unsent <= MAX_UNSENT:
                return
            block = self._block()
            if not block:
                continue  # nobody waits for any of them any more
            self.bursts += 1
            transport.write(block)
            if self._asked_at is None:
                self._asked_at = time.monotonic()

    def _block(self) -> bytes:
        """Frames of as many waiting messages as the window has room for, registered for their confirms. One block ends
        at `MAX_UNSENT` bytes: joining more would copy them while the broker may have stopped reading."""
        parts: list[bytes] = []
        number, limit, methods = self._number, self._limit, self._methods
        waiting, sent = self._waiting, self._sent
        tag = self._tag
        room, left = WINDOW - len(sent), MAX_UNSENT
        while waiting and room and left > 0:
            entry = waiting.popleft()
            body, properties = entry.body, entry.properties
            size = len(body)
            if entry.waiter.done():
                self.held -= size
                continue
            method = methods.get((entry.exchange, entry.key))
            if method is None or len(properties) > limit - _HEADER_SIZE:
                # Before it has a tag: one that was registered and never sent would shift the tags of all others.
                try:
                    method = self._method(number, entry.exchange, entry.key, properties)
                except Exception as error:
                    self.held -= size
                    entry.fail(UnencodableError(f"the message can't be encoded: {error}"))
                    continue
            room -= 1
            left -= size
            tag += 1
            sent[tag] = entry
            header = _CONTENT.pack(2, number, 12 + len(properties), 60, 0, size)
            if 0 < size <= limit:
                parts += (method, header, properties, _END, _BODY.pack(3, number, size), body, _END)
                continue
            parts += (method, header, properties, _END)
            for start in range(0, size, limit):
                piece = body[start : start + limit]
                parts += (_BODY.pack(3, number, len(piece)), piece, _END)
        self.published += tag - self._tag
        self._tag = tag
        return b"".join(parts)

    def _method(self, number: int, exchange: str, key: str, properties: bytes) -> bytes:
        """Raises what is wrong with the routing key, or ValueError where the properties don't fit into a frame."""
        if len(properties) > self._limit - _HEADER_SIZE:
            raise ValueError("its properties are larger than a frame")
        if len(self._methods) >= METHODS_KEPT:
            self._methods.clear()  # reply addresses come and go with their connections
        # What is sent to a reply address comes back as unroutable even where it is heard (RabbitMQ 3.10).
        frame = Basic.Publish(exchange=exchange, routing_key=key, mandatory=not key.startswith(REPLY_TO))
        method = self._methods[exchange, key] = pamqp.frame.marshal(frame, number)
        return method

    def _confirmed(self, tag: int, multiple: bool, accepted: bool) -> None:
        sent = self._sent
        tags = list(takewhile(tag.__ge__, sent)) if multiple else (tag,)
        for one in tags:
            entry = sent.pop(one, None)
            if entry is None:
                continue
            self.held -= len(entry.body)
            if entry.waiter.done():
                continue
            if accepted:
                entry.waiter.set_result(None)
            else:
                entry.fail(Unavailable(_REFUSED))
        if accepted:
            self._asked_at, self._refused, self._proven = (time.monotonic() if sent else None), False, True
        else:
            self._refused = True
        if self._waiting and not self._scheduled:
            self._flush()

    def _returned(self, properties: bytes) -> None:
        name = encoded.decode(properties).message_id
        for entry in self._sent.values():
            if entry.message_id == name:
                entry.fail(Unroutable(_NO_QUEUE))

    async def _sweep(self) -> None:
        """Ends what is past its time. All share one timeout, so the oldest stand first."""
        while True:
            await asyncio.sleep(min(0.1, self._timeout / 4))
            now = time.monotonic()
            if self._transport is None and now - self._lost_at > GRACE:
                self._fail_all("no connection to the broker")
            for tag in [tag for tag, entry in self._sent.items() if entry.deadline <= now]:
                self._end(self._sent.pop(tag), Unavailable("no confirm from the broker in time"))
            while self._waiting and (self._waiting[0].waiter.done() or self._waiting[0].deadline <= now):
                self._end(self._waiting.popleft(), Unavailable("no confirm from the broker in time"))
            self._flush()
            self._doubt(now)

    def _doubt(self, now: float) -> None:
        """Says that the node is of no use, or finds out whether it is."""
        asked, connection = self._asked_at, self._connection
        if asked is None or connection is None:
            return
        if now - asked > (REFUSED if self._refused else STUCK if self._proven else SILENT):
            self._asked_at = now
            self._useless("the broker refuses every message" if self._refused else "the broker confirms nothing")
        elif now - max(asked, self._looked_at) > SILENT:
            self._looked_at = now
            self._looking = asyncio.get_running_loop().create_task(self._look(connection, asked), name="publisher-look")

    async def _look(self, connection: AbstractConnection, asked: float) -> None:
        lives = await answers(connection)
        if not lives and self._connection is connection and self._asked_at == asked:
            self._useless("the broker doesn't answer")

    def _fail_all(self, reason: str) -> None:
        for entry in (*self._sent.values(), *self._waiting):
            self._end(entry, Unavailable(reason))
        self._sent.clear()
        self._waiting.clear()

    def _end(self, entry: Entry, error: Unavailable) -> None:
        """Fail an entry that is neither waiting nor sent any more."""
        self.held -= len(entry.body)
        entry.fail(error)

    def _closed(self, closing: "asyncio.Future[Any]") -> None:
        """Learn from the end of the channel what the broker accepts, and fail only what is larger.

        Runs before `on_lost`, which then sends everything else again on the next connection.
        """
        error = None if closing.cancelled() else closing.exception()
        found = _TOO_LARGE.search(str(error)) if error is not None else None
        if found is None:
            return
        self.lost_by_size = True
        limit = self.max_message_size = int(found[1])
        log.warning("the broker refused a message because of its size", extra={"limit": limit})
        for entry in (*self._sent.values(), *self._waiting):
            if len(entry.body) > limit:
                entry.fail(TooLargeError(len(entry.body), limit))
