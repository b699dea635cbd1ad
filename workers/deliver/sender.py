"""One attempt: one POST, whose answer or failure is returned and never raised."""

import asyncio
import io
import re
import time
from importlib.metadata import version
from types import SimpleNamespace

import aiohttp
from aiohttp.abc import AbstractResolver

from schemas.destinations.guard import Blocked, Guard
from schemas.destinations.urls import Target
from schemas.outbound import Request
from workers.deliver import connector, failures, scrub
from workers.deliver.answer import Answer, retry_after

KEPT = 4096
"""Bytes of an answer that are read and kept: enough to see what a subscriber's system complained about."""
BUFFER = 8192
"""Bytes at which aiohttp stops to read ahead of us; its own default would take in some 128 KiB first."""

SMALL = 64 * 1024
"""Bytes of a body that go out in one piece."""
TARGETS_KEPT = 10_000

__all__ = ["Answer", "Sender"]

_UNSENDABLE = re.compile(r"[\r\n\0]")


class Sender:
    """An HTTP client that keeps connections but nothing else from one attempt to the next."""

    def __init__(self, guard: Guard, timeout: float, *, resolver: AbstractResolver | None = None) -> None:
        """`timeout`: seconds for a whole attempt: name, connect, TLS, sending, answer."""
        self._guard = guard
        self._timeout = timeout
        self._resolver = resolver
        self._targets: dict[str, Target] = {}
        """URLs that passed the guard; names in them are judged when connecting, each time."""
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Before the first `send`."""
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_on_kept)
        self._session = aiohttp.ClientSession(
            connector=connector.guarded(self._guard, resolver=self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=BUFFER,
            # Ours is the only clock: aiohttp's would round up to whole seconds, and stop connects at 30.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            headers={"User-Agent": f"Crossdock/{version('crossdock')}", "Accept-Encoding": "identity"},
            skip_auto_headers=("Content-Type",),
            trace_configs=[tracing],
        )

    async def close(self) -> None:
        """Drops all connections. Attempts under way end as `connection`."""
        if self._session is not None:
            await self._session.close()

    async def send(self, url: str, request: Request, *, success: range) -> Answer:
        """Posts `request` to `url`; `success` are the statuses that mean delivered. Raises CancelledError only.

        At least once: an answer that breaks off or takes too long is none, whatever its status was. One that is merely
        long is cut, and its status counts.
        """
        assert self._session is not None, "start() first"
        started = time.perf_counter()
        status: int | None = None
        try:
            target = self._targets.get(url)
            if target is None:
                target = self._guard.target(url)
                if len(self._targets) >= TARGETS_KEPT:
                    self._targets.clear()
                self._targets[url] = target
            _check_headers(request)
            async with asyncio.timeout(self._timeout), await self._post(target, request) as response:
                status = response.status
                body, cut = await _beginning(response)
        except Blocked as blocked:
            return Answer(outcome="blocked", error=str(blocked), duration_ms=_since(started))
        except Exception as error:
            outcome, text = failures.explain(error, https=url[:6].lower() == "https:")
            return Answer(outcome=outcome, status_code=status, error=text, duration_ms=_since(started))
        return Answer(
            outcome="delivered" if status in success else "refused",
            status_code=status,
            duration_ms=_since(started),
            response=scrub.scrub(body, target.query, request, cut=cut)[:KEPT],
            error=_refusal(status) if status not in success else None,
            retry_after=retry_after(response.headers.get("Retry-After"), time.time()) if status in (429, 503) else None,
            gone=status == 410,
        )

    async def _post(self, target: Target, request: Request) -> aiohttp.ClientResponse:
        """The answer's head. A kept connection that turns out to be closed is no failure: the next one is tried."""
        assert self._session is not None
        while True:
            # The other side may close a kept connection while we write to it: nothing tells that from a failure, except
            # that it was kept. Each round uses one up, so that the last is a new one, whose failure stands. A receiver
            # that did get the first copy knows it by its id: at least once is what we promise.
            kept = _Kept()
            try:
                return await self._session.post(
                    target.url(request.query),
                    # Written in pieces where it is large: a megabyte at once would hold the loop.
                    data=request.body if len(request.body) <= SMALL else io.BytesIO(request.body),
                    headers=request.headers,
                    allow_redirects=False,
                    trace_request_ctx=kept,
                )
            except (aiohttp.ServerDisconnectedError, ConnectionResetError, BrokenPipeError, aiohttp.ClientOSError):
                if kept.used:
                    continue
                raise


class _Kept:
    """Whether a request went out on a connection that was kept from an earlier one."""

    used = False


async def _on_kept(session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
    context.trace_request_ctx.used = True


def _check_headers(request: Request) -> None:
    for name, value in request.headers.items():
        if _UNSENDABLE.search(name) or _UNSENDABLE.search(value):
            raise Blocked("a header would hold a line break; correct the subscription's authorization")


async def _beginning(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """At most KEPT bytes, and whether there were more; then the connection is dropped rather than read to the end."""
    kept = bytearray()
    while len(kept) <= KEPT:
        chunk = await response.content.read(KEPT + 1 - len(kept))
        if not chunk:
            return bytes(kept), False
        kept += chunk
    response.close()
    return bytes(kept[:KEPT]), True


def _refusal(status: int) -> str:
    if 300 <= status < 400:
        return f"answered {status}; redirects are not followed, register the final URL"
    return f"answered {status}"


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
