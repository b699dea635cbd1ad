"""Request and reply over RabbitMQ's direct reply-to: the caller's half, and what an answer looks like.

The pseudo-queue lives on the channel that publishes, takes no acks and is not restored with a connection: answers that
would have come through that one are lost, and callers are told at once.
"""

from functools import lru_cache
from typing import Protocol

import msgspec
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp import encode
from pamqp.commands import Basic

from schemas import properties

REPLY_TO = "amq.rabbitmq.reply-to"


class Answer(msgspec.Struct, frozen=True):
    """What a worker says a sender shall be told."""

    status: int
    """HTTP status."""
    content_type: str
    body: bytes


def encode_answer(call: str, status: int, content_type: str) -> tuple[str, bytes]:
    """A message id, and the encoded properties, of the answer to the call of that correlation id."""
    name = f"{call}/answer"
    return name, b"%b%b%b" % (_head(status, content_type), encode.short_string(call), encode.short_string(name))


@lru_cache(100)
def _head(status: int, content_type: str) -> bytes:
    """All before the two ids, with their flags. Transient: an answer that is not heard now is of no use later."""
    about = Basic.Properties(
        content_type=content_type, headers={"status": status}, delivery_mode=1, correlation_id="x", message_id="x"
    )
    return about.marshal()[: -2 * len(b"\x01x")]


class Caller(Protocol):
    """Who waits for an answer."""

    def answered(self, answer: Answer, /) -> object:
        """Called for each that comes until it is forgotten: more than one, where a message was delivered again."""

    def lost(self, *, ask_again: bool) -> object:
        """The connection that an answer would come through is gone. `ask_again`: another one comes at once, and the
        caller may publish its request once more."""


class Replies:
    """Pending calls by correlation id."""

    def __init__(self) -> None:
        self._pending: dict[str, Caller] = {}

    def __len__(self) -> int:
        return len(self._pending)

    async def on_open(self, channel: AbstractChannel) -> None:
        """Must run before anything with `REPLY_TO` is published on the channel."""
        await channel.basic_consume(REPLY_TO, _elsewhere, no_ack=True)

    def on_lost(self, *, ask_again: bool = False) -> None:
        """Tells every caller. Who goes on waiting, since its message will be sent again, hears of an answer to that."""
        for caller in list(self._pending.values()):
            caller.lost(ask_again=ask_again)

    def expect(self, correlation_id: str, caller: Caller) -> None:
        """Call before publishing; `forget` when done with it, answered or not."""
        self._pending[correlation_id] = caller

    def forget(self, correlation_id: str) -> None:
        """A later answer to it is ignored."""
        self._pending.pop(correlation_id, None)

    def received(self, tag: int, redelivered: bool, encoded: bytes, body: bytes) -> None:
        """Takes the deliveries of the channel: hand it to the publisher that uses it."""
        try:
            found = properties.read(encoded)
        except ValueError:
            return
        caller = self._pending.get(found.correlation_id or "")
        if caller is None:
            return
        status = found.headers.get("status")
        content_type = found.content_type or "application/json"
        caller.answered(Answer(status if isinstance(status, int) else 500, content_type, body))


async def _elsewhere(message: DeliveredMessage) -> None:
    """The library wants a callback; the frames it would be called for never reach it."""
