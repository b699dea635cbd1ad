"""One attempt: one POST, whose answer or failure is returned and never raised."""

import asyncio
import re
import socket
import time
from importlib.metadata import version

import msgspec

from schemas.destinations.guard import Blocked, Guard
from schemas.destinations.urls import Target
from schemas.outbound import Request
from workers.deliver.attempt import failures, scrub
from workers.deliver.attempt.answer import Answer, retry_after
from workers.deliver.attempt.connection import KEPT, NoAnswer, Said
from workers.deliver.attempt.connector import Connector
from workers.deliver.attempt.resolver import Lookup

URLS_KEPT = 10_000
AGENT = f"Crossdock/{version('crossdock')}"

__all__ = ["Answer", "Sender"]

_UNSENDABLE = re.compile(r"[\r\n\0]")


class _Place(msgspec.Struct, frozen=True):
    """A URL that passed the guard; a name in it is judged when connecting, each time."""

    target: Target
    line: str
    """The request's first line, unless the request adds to the query."""
    host: str
    """The headers that are the same for all requests."""


class Sender:
    """An HTTP client that keeps connections but nothing else from one attempt to the next."""

    def __init__(self, guard: Guard, timeout: float, *, look_up: Lookup = socket.getaddrinfo) -> None:
        """`timeout`: seconds for a whole attempt: name, connect, TLS, sending, answer. `look_up`: see Resolver."""
        self._guard = guard
        self._timeout = timeout
        self._look_up = look_up
        self._places: dict[str, _Place] = {}
        self._connector: Connector | None = None

    async def start(self) -> None:
        """Before the first `send`."""
        self._connector = Connector(self._guard, self._look_up)

    async def close(self) -> None:
        """Drops all connections. Attempts under way end as `connection`."""
        if self._connector is not None:
            self._connector.close()

    async def send(self, url: str, request: Request, *, success: range, owner: str = "") -> Answer:
        """Posts `request` to `url`; `success` are the statuses that mean delivered; `owner`: whose share of the
        look-ups it takes. Raises CancelledError only.

        At least once: an answer that breaks off or takes too long is none, whatever its status was. One that is merely
        long is cut, and its status counts. Redirects are not followed, nothing is decompressed, no cookie is kept.
        """
        assert self._connector is not None, "start() first"
        started = time.perf_counter()
        status: int | None = None
        try:
            place = self._places.get(url) or self._place(url)
            head = _head(place, request)
            async with asyncio.timeout(self._timeout):
                while True:
                    # The other side may close a kept connection while we write to it: nothing tells that from a
                    # failure, except that it was kept. Each round uses one up, so that the last is a new one, whose
                    # failure stands. A receiver that did get the first copy knows it by its id: at least once is what
                    # we promise.
                    kept = self._connector.kept(place.target)
                    connection = kept or await self._connector.connect(place.target, owner)
                    try:
                        said = await connection.post(head, request.body)
                        break
                    except (NoAnswer, OSError):
                        if kept is None or connection.status is not None:
                            raise
                    finally:
                        status = connection.status
                        self._connector.give_back(place.target, connection)
        except Blocked as blocked:
            return Answer(outcome="blocked", error=str(blocked), duration_ms=_since(started))
        except Exception as error:
            outcome, text = failures.explain(error)
            return Answer(outcome=outcome, status_code=status, error=text, duration_ms=_since(started))
        return _answer(said, place.target, request, success, started)

    def _place(self, url: str) -> _Place:
        """Raises Blocked."""
        target = self._guard.target(url)
        fixed = f"Host: {target.authority}\r\nUser-Agent: {AGENT}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
        made = _Place(target=target, line=f"POST {target.resource()} HTTP/1.1\r\n", host=fixed)
        if len(self._places) >= URLS_KEPT:
            self._places.clear()
        self._places[url] = made
        return made


def _answer(said: Said, target: Target, request: Request, success: range, started: float) -> Answer:
    status = said.status
    delivered = status in success
    return Answer(
        outcome="delivered" if delivered else "refused",
        status_code=status,
        duration_ms=_since(started),
        response=scrub.scrub(said.body, target.query, request, cut=said.cut)[:KEPT] if said.body else b"",
        error=None if delivered else _refusal(status),
        retry_after=retry_after(said.retry_after, time.time()) if status in (429, 503) else None,
        gone=status == 410,
    )


def _head(place: _Place, request: Request) -> bytes:
    """The request up to its body. Raises Blocked."""
    line = f"POST {place.target.resource(request.query)} HTTP/1.1\r\n" if request.query else place.line
    parts = [line, place.host, f"Content-Length: {len(request.body)}\r\n"]
    for name, value in request.headers.items():
        if _UNSENDABLE.search(value):
            raise Blocked("a header would hold a line break; correct the subscription's authorization")
        parts.append(f"{name}: {value}\r\n")
    parts.append("\r\n")
    return "".join(parts).encode()


def _refusal(status: int) -> str:
    if 300 <= status < 400:
        return f"answered {status}; redirects are not followed, register the final URL"
    return f"answered {status}"


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
