"""Messages on their way out, and how each may end."""

import asyncio
from typing import Any, NamedTuple, Protocol


class Unavailable(Exception):
    """The message is not safe with the broker: no connection, no confirm in time, a refusal. Publish it again."""


class Unroutable(Unavailable):
    """No queue wanted the message. `crossdock topology apply` declares what is missing."""


class MessageError(Unavailable):
    """The message itself is at fault: publishing it again ends the same way. No other message is affected."""


class UnencodableError(MessageError):
    """AMQP has no room for the message's routing key or properties."""


class TooLargeError(MessageError):
    """The body is larger than the broker accepts."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the message has {size} bytes and the broker accepts at most {limit}")
        self.size = size
        self.limit = limit


class Outgoing(NamedTuple):
    """One message to publish."""

    exchange: str
    key: str
    properties: bytes
    """The encoded property flags and list of a content header: persistence and headers are in there."""
    message_id: str
    """The one of `properties`. Unique among what is outstanding: the broker's returns are matched by it."""
    body: bytes


class Waiter(Protocol):
    """Who hears how one ends: a future, or whoever does with less. Called in the turn that received the confirm;
    must not raise."""

    def done(self) -> bool:
        """Whether nothing is to be heard any more."""

    def set_result(self, nothing: None, /) -> object:
        """It is safe with the broker."""

    def set_exception(self, error: Exception, /) -> object:
        """It is not: Unavailable, or one of its subclasses."""


class Burst:
    """One future for messages that are wanted only all together: its entries take it for a future of their own."""

    __slots__ = ("_left", "future")

    def __init__(self, size: int, future: "asyncio.Future[Any]") -> None:
        self._left = size
        self.future = future

    def done(self) -> bool:
        return self.future.done()

    def set_result(self, _: None) -> None:
        self._left -= 1
        if not self._left:
            self.future.set_result(None)

    def set_exception(self, error: Exception) -> None:
        self.future.set_exception(error)
        self.future.exception()


class Entry:
    """One message on its way to the broker's confirm, or to its deadline."""

    __slots__ = ("body", "deadline", "exchange", "key", "message_id", "properties", "waiter")

    def __init__(
        self,
        exchange: str,
        key: str,
        properties: bytes,
        message_id: str,
        body: bytes,
        deadline: float,
        waiter: Waiter,
    ) -> None:
        self.exchange = exchange
        self.key = key
        self.properties = properties
        self.message_id = message_id
        self.body = body
        self.deadline = deadline
        self.waiter = waiter

    def fail(self, error: Unavailable) -> None:
        """Ends it, unless it has ended."""
        waiter = self.waiter
        if not waiter.done():
            waiter.set_exception(error)
            if isinstance(waiter, asyncio.Future):
                waiter.exception()  # one that nobody waits for any more is no error: nobody need look at it


def explain(error: BaseException) -> Unavailable:
    """Any reason why a publish failed, as ours."""
    return error if isinstance(error, Unavailable) else Unavailable(str(error) or type(error).__name__)
