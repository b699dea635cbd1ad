"""The short way of most posts: those that are whole when they are read.

From the socket's bytes to the answer's they are a few calls and callbacks. What a library has to do for any request (a
task, a request and a response object, four turns of the loop) costs as much again. Whatever isn't plain (another
method, a body that still arrives or is encoded, a sender that doesn't read) goes the long way, through `handler`, and
hears the same.
"""

import time

from aiohttp import HttpVersion11, hdrs
from aiohttp.http import RawRequestMessage

from broker import ids
from ingress.connections import Connection
from ingress.hooks import response
from ingress.hooks.handler import Handler
from ingress.hooks.outcomes import Outcome
from ingress.hooks.request import WebhookRequest
from ingress.hooks.routes import Route


class FastPath:
    """Takes such posts on behalf of a handler, which has the settings and the counts."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def take(self, message: RawRequestMessage, raw: bytes, sender: Connection) -> bool:
        """Takes a whole request, or leaves it as it is: False. Never raises once it has taken one."""
        settings = self._handler.settings
        headers = message.headers
        route = settings.routes.find(message.path.partition("?")[0])  # an absolute target goes the long way
        if (
            route is None
            or message.method != hdrs.METH_POST
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or hdrs.CONTENT_ENCODING in headers
            or hdrs.EXPECT in headers
            or len(raw) > settings.max_body
            or sender.transport is None
            or not response.can_take_more(sender.transport)
        ):
            return False
        self._handler.begin()
        FastPathRequest(self._handler, route, message, sender, len(raw)).begin(raw, time.time())
        return True


class FastPathRequest(WebhookRequest):
    """Answers on the connection that it came on."""

    __slots__ = ("_handler", "_message", "_peer", "_sender", "_size", "_started")

    def __init__(
        self, handler: Handler, route: Route, message: RawRequestMessage, sender: Connection, size: int
    ) -> None:
        self._started = time.perf_counter()
        bounded = handler.settings.bounded
        super().__init__(handler.behind, route, ids.message_id(), message.headers, message.path, bounded=bounded)
        self._handler = handler
        self._message = message
        self._sender = sender
        self._peer = sender.peername  # known as long as it is there
        self._size = size

    def ended(self, outcome: Outcome) -> None:
        sender, route, peer = self._sender, self.route, self._peer
        remote = str(peer[0]) if isinstance(peer, (list, tuple)) else peer
        seconds = time.perf_counter() - self._started
        try:
            self._handler.record(self._message.method, remote, route, route.path, outcome, self.id, self._size, seconds)
        finally:
            sender.answer(response.accepted(self.id) if outcome.plain else response.block(outcome))

    def failed(self) -> None:
        self._sender.force_close()

    def left(self) -> None:
        self._handler.end()
