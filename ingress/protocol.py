"""aiohttp's server connection, with names for the private state of it that we depend on.

aiohttp's public interface does not say whether a connection waits for a request, since when, and which requests have
arrived. No other module touches its private attributes. `tests/contract/test_aiohttp_internals.py` checks each of them,
and pyproject.toml pins aiohttp to the minor versions that the test has seen.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import EMPTY_PAYLOAD, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

INTERNALS = {
    "_close": "whether the server is shutting down",
    "_current_request": "the request that its task handles",
    "_keepalive_timeout": "seconds that an idle connection is kept",
    "_loop": "its event loop",
    "_messages": "requests that have arrived and that its task has not taken",
    "_next_keepalive_close_time": "when an idle connection is closed, in the loop's seconds",
    "_parser": "the HTTP parser, which counts the messages that wait",
    "_process_keepalive": "the callback that closes an idle connection",
    "_request_count": "requests that have arrived",
    "_waiter": "the future by which its task waits for a request",
}
"""Private attributes of `RequestHandler` that this module reads, writes or extends."""


TOO_MANY_HEADERS = "Too many headers"
"""The beginning of the parser's message for a head with too many header lines, which has no type of its own."""


def is_head_too_large(error: HttpProcessingError) -> bool:
    """Return whether the parser refused a head because of its size."""
    return isinstance(error, LineTooLong) or error.message.startswith(TOO_MANY_HEADERS)


class RequestProtocol(web.RequestHandler):
    """One client connection as aiohttp has it."""

    __slots__ = ("is_on_fast_path",)

    def __init__(self, server: web.Server, **settings: Any) -> None:
        super().__init__(server, **settings)
        self.is_on_fast_path = False
        """Whether a request is under way that the library does not know of."""

    @property
    def is_waiting(self) -> bool:
        """Whether the library waits for a request, so that none is under way."""
        waiter = self._waiter
        # Before the library's task has run for the first time there is no waiter yet.
        return not waiter.done() if waiter is not None else not self._request_count

    @property
    def keepalive_deadline(self) -> float:
        """When the connection is closed if it stays idle, in the loop's seconds."""
        return self._next_keepalive_close_time

    @property
    def is_shutting_down(self) -> bool:
        """Whether the connection is closed after the response that is under way."""
        return self._close

    @property
    def has_requests(self) -> bool:
        """Whether requests have arrived that the library's task has not taken."""
        return bool(self._messages)

    def parse(self, data: bytes) -> bool:
        """Let the library parse what has arrived, without waking its task.

        Returns whether its task waits for a request and one is there: then either `drop_request` or `wake` has to
        follow.
        """
        waiter, self._waiter = self._waiter, None
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        return waiter is not None and not waiter.done() and bool(self._messages)

    def wake(self) -> None:
        """Wake the library's task, which waits for a request."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def whole_request(self) -> tuple[RawRequestMessage, bytes] | None:
        """Return the only request that has arrived, if all of its body has too; None otherwise.

        The body stays where it is, because the library may still have to read it.
        """
        if len(self._messages) != 1:
            return None
        message, body = self._messages[0]
        if not isinstance(message, RawRequestMessage) or not body.is_eof() or body.exception() is not None:
            return None
        # The reader's own methods would take nine calls, for parts that need not be waited for.
        return message, b"" if body is EMPTY_PAYLOAD else b"".join(body._buffer)

    def drop_request(self) -> None:
        """Remove the request that `whole_request` returned: the library never gets to see it."""
        self._messages.clear()
        if self._parser is not None:
            self._parser.message_consumed()

    def are_bodies_whole(self) -> bool:
        """Return whether the bodies of the request under way and of those that follow have arrived."""
        request = self._current_request
        is_current_whole = request is None or request.content.is_eof()
        return is_current_whole and all(body.is_eof() for _, body in self._messages)

    def postpone_keepalive(self) -> None:
        """Start the time that an idle connection is kept anew."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout

    def _process_keepalive(self) -> None:
        if self.is_on_fast_path:  # the library takes the connection for an idle one
            self.postpone_keepalive()
        super()._process_keepalive()


class AppRunner(web.AppRunner):
    """aiohttp's runner of an application, with a server that `make_server` makes."""

    def __init__(self, app: web.Application, make_server: Callable[..., web.Server], **settings: Any) -> None:
        """`settings`: the arguments of aiohttp's runner."""
        super().__init__(app, **settings)
        self._make = make_server

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return self._make(server.request_handler, request_factory=server.request_factory, **self._kwargs)
