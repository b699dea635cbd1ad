"""`crossdock.events.log` read as a log: from any offset or time, over any number of connections, each event once.

A stream is consumed like a queue (prefetch, acks), but acks only ask for more: what is read stays. Where to go on is
the reader's to know, so a new connection carries on behind the last offset that was handed out.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

import msgspec
from aiormq.exceptions import AMQPError

from broker import consumer as deliveries
from broker.connection import Link
from broker.consumer import Consumer, Delivery
from schemas import envelope
from schemas.topology import EVENTS_LOG

Start = Literal["first", "last", "next"] | int | datetime
"""The oldest kept; the newest chunk; what comes from now on; an offset; a moment (aware; some earlier ones may come
first: the log is searched by chunks)."""

PREFETCH = 500
IDS_KEPT = 100_000
"""An event that comes again (a worker died before its ack) comes soon after."""
QUIET = 0.5
"""Seconds without a message after which the newest chunk has been read."""


class Entry(msgspec.Struct, frozen=True):
    """One event of the log."""

    offset: int
    id: str
    """The event's own."""
    body: bytes
    """A CloudEvent."""


class EventLog:
    """`async with EventLog(url, start) as log: async for entries in log.read(): …`."""

    def __init__(self, url: str, start: Start, *, prefetch: int = PREFETCH) -> None:
        """`url`: as AMQP_URL."""
        self._start = start
        self._next: int | None = None
        self._seen: dict[str, None] = {}
        self._consumer = Consumer(EVENTS_LOG, prefetch=prefetch, arguments=self._arguments)
        self._prefetch = prefetch
        self._link = Link(url, name="consume", on_open=self._consumer.on_open, on_lost=self._consumer.on_lost)

    async def __aenter__(self) -> "EventLog":
        self._link.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._link.stop()

    @property
    def next_offset(self) -> int | None:
        """Where another reader would carry on; None before the first event."""
        return self._next

    @property
    def problem(self) -> str | None:
        """Why nothing comes, if the broker is the reason."""
        return None if self._link.is_open else self._link.error

    async def opened(self) -> None:
        """Waits until it is connected."""
        await self._link.opened.wait()

    async def read(self) -> AsyncGenerator[list[Entry]]:
        """Events as they come, in the log's order, those that came before left out. Ends never."""
        while True:
            batch = await self._consumer.take(self._prefetch, 0.0)
            entries = [entry for delivery in batch if (entry := self._entry(delivery)) is not None]
            if entries:
                yield entries
            # Only now: the consumer is slowed down by whoever reads. Without a connection there is nothing to ask.
            with suppress(AMQPError, OSError):
                await deliveries.ack(batch)

    def _arguments(self) -> Mapping[str, Any]:
        start = self._start if self._next is None else self._next
        if start == "next":
            # Should the connection be lost before anything came, what comes meanwhile must not be missed.
            self._start = envelope.now()
        return {"x-stream-offset": start}

    def _entry(self, delivery: Delivery) -> Entry | None:
        found = delivery.properties
        offset = int(found.headers["x-stream-offset"])
        if self._next is not None and offset < self._next:
            return None
        self._next = offset + 1
        if isinstance(self._start, int) and offset < self._start:
            return None
        name = found.message_id or str(offset)
        if name in self._seen:
            return None
        self._seen[name] = None
        if len(self._seen) > IDS_KEPT:
            del self._seen[next(iter(self._seen))]
        return Entry(offset, name, delivery.body)


async def newest(url: str, timeout: float = 10.0) -> int | None:
    """Offset of the newest event; None if the log is empty. Raises TimeoutError where the broker can't be asked."""
    async with EventLog(url, "last") as log:
        async with asyncio.timeout(timeout):
            await log.opened()
        reading = log.read()
        try:
            while True:
                async with asyncio.timeout(QUIET):
                    await anext(reading)
        except TimeoutError:
            return None if log.next_offset is None else log.next_offset - 1
