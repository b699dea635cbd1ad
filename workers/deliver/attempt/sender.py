"""Sends one attempt as a POST, and returns its response or failure instead of raising it."""

import asyncio
import re
import socket
import time
from importlib.metadata import version

import msgspec

from schemas.destinations.guard import BlockedError, Guard
from schemas.destinations.urls import Target
from schemas.outbound import Request
from workers.deliver.attempt import failures, scrub
from workers.deliver.attempt.connection import Connection
from workers.deliver.attempt.connector import Connector
from workers.deliver.attempt.resolver import Lookup
from workers.deliver.attempt.response import KEPT, WITH_RETRY_AFTER, NoAnswerError, ResponseHead
from workers.deliver.attempt.result import AttemptResult, retry_after

URLS_KEPT = 10_000
"""Maximum number of parsed URLs that are kept; all are dropped when it is reached."""
AGENT = f"Crossdock/{version('crossdock')}"

__all__ = ["AttemptResult", "Sender"]

_UNSENDABLE = re.compile(r"[\r\n\0]")


class _Endpoint(msgspec.Struct, frozen=True):
    """A URL that passed the guard; the addresses of its host name are checked at every connection."""

    target: Target
    line: str
    """The request line, unless the request adds to the query."""
    fixed_headers: str
    """The header lines that all requests to the URL share."""


class Sender:
    """An HTTP client that keeps connections, but no cookies or other state, from one attempt to the next."""

    def __init__(self, guard: Guard, timeout: float, *, look_up: Lookup = socket.getaddrinfo) -> None:
        """Create a sender; `start` must be called before it sends.

        `timeout` is the maximum number of seconds of a whole attempt: name look-up, connection, TLS, request and
        response. For `look_up`, see Resolver.
        """
        self._guard = guard
        self._timeout = timeout
        self._look_up = look_up
        self._endpoints: dict[str, _Endpoint] = {}
        self._connector: Connector | None = None

    async def start(self) -> None:
        """Create the connector in the running event loop; call this before `send`."""
        self._connector = Connector(self._guard, self._look_up)

    async def close(self) -> None:
        """Close all connections; attempts under way end with the outcome `connection`."""
        if self._connector is not None:
            self._connector.close()

    async def send(self, url: str, request: Request, *, success: range, owner: str = "") -> AttemptResult:
        """Post `request` to `url` and return the result; raises nothing but CancelledError.

        `success` contains the statuses that mean delivered. A name look-up counts towards the share of `owner`.

        The status decides once the head of the response is complete: a body that is long, breaks off or does not end in
        time is cut. A response whose head breaks off or takes too long is a failure, unless the head is so long that
        its status line decides. Redirects are not followed, bodies are not decompressed, and cookies are not kept.
        """
        assert self._connector is not None, "start() first"
        started = time.perf_counter()
        status: int | None = None
        endpoint: _Endpoint | None = None
        connection: Connection | None = None
        try:
            endpoint = self._endpoints.get(url) or self._endpoint(url)
            head = _head(endpoint, request)
            async with asyncio.timeout(self._timeout):
                while True:
                    # The server may close a kept connection while we write to it, which looks like any other failure.
                    # A request that fails on a kept connection without a status is therefore sent again. Each round
                    # uses up one kept connection, so the last round opens a new one, whose failure is final. If the
                    # server did receive the first copy, it recognises the second by its ID: at least once is promised.
                    kept = self._connector.kept(endpoint.target)
                    connection = kept or await self._connector.connect(endpoint.target, owner)
                    try:
                        response = await connection.post(head, request.body)
                        break
                    except (NoAnswerError, OSError):
                        if kept is None or connection.status is not None:
                            raise
                    finally:
                        status = connection.status
                        self._connector.give_back(endpoint.target, connection)
        except BlockedError as blocked:
            return AttemptResult(outcome="blocked", error=str(blocked), duration_ms=_since(started))
        except Exception as error:
            if isinstance(error, TimeoutError) and endpoint is not None and connection is not None:
                partial = connection.cut_short()
                if partial is not None:
                    return _answer(partial, endpoint.target, request, success, started)
            outcome, text = failures.explain(error)
            return AttemptResult(outcome=outcome, status_code=status, error=text, duration_ms=_since(started))
        return _answer(response, endpoint.target, request, success, started)

    def _endpoint(self, url: str) -> _Endpoint:
        """Parse a URL and keep the result. Raises BlockedError if the guard refuses the URL."""
        target = self._guard.target(url)
        fixed = f"Host: {target.authority}\r\nUser-Agent: {AGENT}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
        endpoint = _Endpoint(target=target, line=f"POST {target.resource()} HTTP/1.1\r\n", fixed_headers=fixed)
        if len(self._endpoints) >= URLS_KEPT:
            self._endpoints.clear()
        self._endpoints[url] = endpoint
        return endpoint


def _answer(response: ResponseHead, target: Target, request: Request, success: range, started: float) -> AttemptResult:
    status = response.status
    delivered = status in success
    return AttemptResult(
        outcome="delivered" if delivered else "refused",
        status_code=status,
        duration_ms=_since(started),
        response=scrub.scrub(response.body, target.query, request, cut=response.cut)[:KEPT] if response.body else b"",
        error=None if delivered else _refusal(status),
        retry_after=retry_after(response.retry_after, time.time()) if status in WITH_RETRY_AFTER else None,
        gone=status == 410,
    )


def _head(endpoint: _Endpoint, request: Request) -> bytes:
    """Return the head of the request. Raises BlockedError if a header value contains a line break or a NUL
    character."""
    line = f"POST {endpoint.target.resource(request.query)} HTTP/1.1\r\n" if request.query else endpoint.line
    parts = [line, endpoint.fixed_headers, f"Content-Length: {len(request.body)}\r\n"]
    for name, value in request.headers.items():
        if _UNSENDABLE.search(value):
            raise BlockedError("a header would hold a line break; correct the subscription's authorization")
        parts.append(f"{name}: {value}\r\n")
    parts.append("\r\n")
    return "".join(parts).encode()


def _refusal(status: int) -> str:
    if 300 <= status < 400:
        return f"answered {status}; redirects are not followed, register the final URL"
    return f"answered {status}"


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
