"""Messages on their way to the broker, and the errors that publishing can end with."""

import asyncio
from typing import NamedTuple, Protocol

import aio_pika
from pamqp.commands import Basic


class BrokerUnavailableError(Exception):
    """The message is not safe with the broker and should be published again.

    There was no connection, no confirm in time, or the broker refused the message.
    """


class UnroutableError(BrokerUnavailableError):
    """The message matched no queue; `crossdock topology apply` declares missing queues and bindings."""


class MessageError(BrokerUnavailableError):
    """The message itself is at fault and fails again if it is published again; other messages are unaffected."""


class UnencodableError(MessageError):
    """The routing key or the properties cannot be encoded in AMQP."""


class TooLargeError(MessageError):
    """The body is larger than the broker accepts."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the message has {size} bytes and the broker accepts at most {limit}")
        self.size = size
        self.limit = limit


class Outgoing(NamedTuple):
    """One message to publish, with its destination."""

    exchange: str
    key: str
    properties: bytes
    """The encoded property flags and list of a content header; they include persistence and headers."""
    message_id: str
    """The message id in `properties`.

    It must be unique among the outstanding messages, because messages that the broker returns are matched by it.
    """
    body: bytes


class RawMessage(aio_pika.Message):
    """A message for aio-pika's `publish` whose properties are sent as they are; `Message` would add a priority."""

    def __init__(self, body: bytes, properties: Basic.Properties) -> None:
        super().__init__(body)
        self._properties = properties

    @property
    def properties(self) -> Basic.Properties:
        return self._properties


class ConfirmListener(Protocol):
    """Receives the outcome of one publish: a future, or a lighter object with the same three methods.

    The methods are called in the loop turn that received the confirm, and must not raise.
    """

    def done(self) -> bool:
        """Return whether the listener no longer needs an outcome."""

    def set_result(self, nothing: None, /) -> object:
        """Report that the message is safe with the broker."""

    def set_exception(self, error: Exception, /) -> object:
        """Report that it is not safe, with BrokerUnavailableError or one of its subclasses."""


class BatchFuture:
    """One future for several messages that only matter together; each entry uses it like a future of its own."""

    __slots__ = ("_remaining", "future")

    def __init__(self, size: int, future: "asyncio.Future[None]") -> None:
        self._remaining = size
        self.future = future

    def done(self) -> bool:
        return self.future.done()

    def set_result(self, _: None) -> None:
        self._remaining -= 1
        if not self._remaining:
            self.future.set_result(None)

    def set_exception(self, error: Exception) -> None:
        self.future.set_exception(error)
        self.future.exception()


class PendingPublish:
    """One message between `publish` and its confirm or deadline."""

    __slots__ = ("body", "deadline", "exchange", "key", "listener", "message_id", "properties")

    def __init__(
        self,
        exchange: str,
        key: str,
        properties: bytes,
        message_id: str,
        body: bytes,
        deadline: float,
        listener: ConfirmListener,
    ) -> None:
        self.exchange = exchange
        self.key = key
        self.properties = properties
        self.message_id = message_id
        self.body = body
        self.deadline = deadline
        self.listener = listener

    def fail(self, error: BrokerUnavailableError) -> None:
        """Fail the listener with `error`, unless it has ended already."""
        listener = self.listener
        if not listener.done():
            listener.set_exception(error)
            if isinstance(listener, asyncio.Future):
                listener.exception()  # marks it as retrieved: a future that no task awaits any more is not an error


def explain(error: BaseException) -> BrokerUnavailableError:
    """Return the reason why a publish failed as a BrokerUnavailableError."""
    return (
        error
        if isinstance(error, BrokerUnavailableError)
        else BrokerUnavailableError(str(error) or type(error).__name__)
    )
