"""Request and reply over RabbitMQ's direct reply-to: the caller's half.

The pseudo-queue lives on the channel that publishes, takes no acks and is not restored with a connection, so pending
calls fail at once when it is lost.
"""

import asyncio

import msgspec
from aiormq.abc import AbstractChannel, DeliveredMessage

from schemas import properties

REPLY_TO = "amq.rabbitmq.reply-to"


class Answer(msgspec.Struct, frozen=True):
    """What a worker says a sender shall be told."""

    status: int
    """HTTP status."""
    content_type: str
    body: bytes


class Lost(Exception):
    """No answer will come: the connection that it would have come through is gone."""


class Replies:
    """Pending calls by correlation id."""

    def __init__(self) -> None:
        self._pending: dict[str, asyncio.Future[Answer]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    async def on_open(self, channel: AbstractChannel) -> None:
        """Must run before anything with `REPLY_TO` is published on the channel."""
        await channel.basic_consume(REPLY_TO, _elsewhere, no_ack=True)

    def on_lost(self) -> None:
        """Ends every pending call."""
        for future in self._pending.values():
            if not future.done():
                future.set_exception(Lost("the connection to the broker was lost"))
                future.exception()  # a caller that still waits for its confirm may look later, or never
        self._pending.clear()

    def expect(self, correlation_id: str) -> "asyncio.Future[Answer]":
        """Call before publishing; `forget` when done with it, answered or not. Raises Lost on connection loss."""
        future = self._pending[correlation_id] = asyncio.get_running_loop().create_future()
        return future

    def forget(self, correlation_id: str) -> None:
        """A later answer to it is ignored."""
        self._pending.pop(correlation_id, None)

    def received(self, tag: int, redelivered: bool, encoded: bytes, body: bytes) -> None:
        """Takes the deliveries of the channel: hand it to the publisher that uses it."""
        try:
            found = properties.read(encoded)
        except ValueError:
            return
        future = self._pending.get(found.correlation_id or "")
        if future is None or future.done():
            return
        status = found.headers.get("status")
        content_type = found.content_type or "application/json"
        future.set_result(Answer(status if isinstance(status, int) else 500, content_type, body))


async def _elsewhere(message: DeliveredMessage) -> None:
    """The library wants a callback; the frames it would be called for never reach it."""
