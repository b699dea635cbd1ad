"""Request and reply over RabbitMQ's direct reply-to: the caller's side, and the format of an answer.

The pseudo-queue belongs to the channel that publishes, takes no acks, and is not restored on a new connection. Answers
that would have arrived over a lost connection are therefore lost, and the callers are notified at once.
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
    """A worker's answer, which the ingress sends to the platform as its HTTP response."""

    status: int
    """HTTP status code of the response."""
    content_type: str
    body: bytes


def encode_answer(call: str, status: int, content_type: str) -> tuple[str, bytes]:
    """Return the message id and the encoded properties of the answer to the call with this correlation id."""
    name = f"{call}/answer"
    return name, b"%b%b%b" % (_encode_head(status, content_type), encode.short_string(call), encode.short_string(name))


@lru_cache(100)
def _encode_head(status: int, content_type: str) -> bytes:
    """Return the encoded properties up to the two ids, including the ids' flags.

    The answer is transient, because one that is not received now is useless later.
    """
    example = Basic.Properties(
        content_type=content_type, headers={"status": status}, delivery_mode=1, correlation_id="x", message_id="x"
    )
    return example.marshal()[: -2 * len(b"\x01x")]


class Caller(Protocol):
    """A caller that waits for an answer."""

    def answered(self, answer: Answer, /) -> object:
        """Handle an answer; called once per answer until `forget`, and again if the request was redelivered."""

    def lost(self, *, ask_again: bool) -> object:
        """Handle the loss of the connection over which an answer would arrive.

        `ask_again`: a new connection follows at once, and the caller may publish its request once more.
        """


class Replies:
    """The pending calls of one channel by correlation id."""

    def __init__(self) -> None:
        self._pending: dict[str, Caller] = {}

    def __len__(self) -> int:
        return len(self._pending)

    async def on_open(self, channel: AbstractChannel) -> None:
        """Start the reply consumer; required before a message with `REPLY_TO` is published on the channel."""
        await channel.basic_consume(REPLY_TO, _unexpected, no_ack=True)

    def on_lost(self, *, ask_again: bool = False) -> None:
        """Notify every caller that the connection was lost.

        A caller that keeps waiting, because its message will be sent again, receives the answer to the repeated
        message.
        """
        for caller in list(self._pending.values()):
            caller.lost(ask_again=ask_again)

    def expect(self, correlation_id: str, caller: Caller) -> None:
        """Register a call before it is published; call `forget` when it is finished, answered or not."""
        self._pending[correlation_id] = caller

    def forget(self, correlation_id: str) -> None:
        """Remove a call; answers that arrive later are ignored."""
        self._pending.pop(correlation_id, None)

    def received(self, tag: int, redelivered: bool, encoded: bytes, body: bytes) -> None:
        """Handle a delivery of the reply channel; pass this to the publisher that uses the channel."""
        try:
            received = properties.read(encoded)
        except ValueError:
            return
        caller = self._pending.get(received.correlation_id or "")
        if caller is None:
            return
        status = received.headers.get("status")
        content_type = received.content_type or "application/json"
        caller.answered(Answer(status if isinstance(status, int) else 500, content_type, body))


async def _unexpected(message: DeliveredMessage) -> None:
    """Placeholder that aiormq requires; the frame reader handles deliveries before they reach it."""
