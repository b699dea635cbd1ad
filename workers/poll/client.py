"""A client for the APIs of polled platforms: it fetches a token, then pages of orders. It knows no queues or cursors.

No secret appears in errors or logs: they name the request, the status and the kind of failure, never a body or header.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from datetime import datetime

import aiohttp
import msgspec
from aiohttp import hdrs
from yarl import URL

from schemas import encodings, retryafter
from workers.poll import metrics, pages
from workers.poll.limit import Limit
from workers.poll.source import Settings, Source

TIMEOUT = 30.0
"""Maximum seconds for one request and its whole response."""
MAX_BODY = 32 * 1024 * 1024
"""Maximum bytes of one response. 200 orders have well under one megabyte."""
LONGEST_HEADER = 64 * 1024
"""Maximum bytes of a header line of a response, which is what proxies and browsers accept of a whole head or more."""
MOST_HEADERS = 1000
"""Maximum header lines of a response."""
BACK_OFF = (1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts of one request, ±50 %.

After 15 s of pauses in total, the poll has failed; it is repeated later.
"""
MAX_PAUSE = 3600.0
"""Maximum seconds that a Retry-After header may make us wait at a time."""
TOKEN_LIFE = 3600.0
"""Lifetime of a token in seconds, if the response does not contain one. Apicbase documents 604,800."""
EARLY = 60.0
"""Seconds before its expiry at which a token is renewed; a tenth of its lifetime if that is less."""

TOO_MANY = 429
SUBJECTS = {"token": "the access token", "page": "a page of orders"}
"""What a request fetches, by its kind."""


class FetchError(Exception):
    """The API did not return a usable result, and an immediate retry would not help. The text contains no secret."""


class PageMissingError(FetchError):
    """The API answered 404 for a page, as it does once fewer orders are listed than when the link was made."""


class Page(msgspec.Struct, frozen=True):
    """One page of results: the orders as received bytes, and the URL of the next page."""

    results: list[bytes]
    next: URL | None


class _Token(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float | None = None


class _Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    """The body of the response, in UTF-8."""
    retry_after: float | None


def session() -> aiohttp.ClientSession:
    """Return an HTTP session without cookies, which ignores proxy settings of the environment.

    The number of connections is not limited, so that a slow API does not delay others.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={hdrs.USER_AGENT: "crossdock", hdrs.ACCEPT: "application/json"},
        timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        trust_env=False,
        max_line_size=LONGEST_HEADER,
        max_field_size=LONGEST_HEADER,
        max_headers=MOST_HEADERS,
    )


class Client:
    """The client for one pair of credentials at one base URL; its accounts share the token and the rate limit."""

    def __init__(self, http: aiohttp.ClientSession, source: Source, settings: Settings, limit: Limit) -> None:
        self._http = http
        self._source = source
        self._settings = settings
        self._limit = limit
        self._base = URL(settings.base_url.rstrip("/") + "/")
        self._token = ""
        self._token_until = 0.0
        """Time of the token's renewal, in monotonic seconds."""
        self._renewal: asyncio.Task[str] | None = None

    def first(self, after: datetime) -> URL:
        """Return the URL of the first page of orders after the time `after`."""
        return self._base.join(URL(self._source.orders_path)).with_query(self._source.filters(after))

    async def page(self, url: URL) -> Page:
        """Fetch one page. Raises PageMissingError, FetchError, and the database errors of the rate limit."""
        token = await self._authorized("")
        answer = await self._send("page", hdrs.METH_GET, url, token=token)
        if answer.status == 401:  # the token expired early or was revoked, which is normal once
            answer = await self._send("page", hdrs.METH_GET, url, token=await self._authorized(token))
        if answer.status == 401:
            raise FetchError(
                "the server answered 401 although the access token is new: may the client read supplier orders?"
            )
        if answer.status == 404:
            raise PageMissingError(f"{SUBJECTS['page']} could not be fetched: the server answered 404")
        if answer.status != 200:
            raise FetchError(f"{SUBJECTS['page']} could not be fetched: the server answered {answer.status}")
        try:
            page = pages.split(answer.body)
        except (ValueError, RecursionError):
            raise FetchError("the server's answer is not a page of orders") from None
        return Page([bytes(order) for order in page.results], self._following(url, page.next))

    def _following(self, url: URL, following: str | None) -> URL | None:
        if not following:
            return None
        try:
            target = url.join(URL(following))
            if target.scheme == "http" and self._base.scheme == "https" and target.port in (80, self._base.port):
                # Behind a proxy that terminates TLS, the API builds links with the scheme that it sees itself.
                target = target.with_scheme("https").with_port(self._base.explicit_port)
            same = target.origin() == self._base.origin() and target.user is None and target.password is None
        except ValueError:
            same = False
        if not same:
            raise FetchError(
                "the link to the next page leads away from the host of `base_url`, and the token must not go there"
            )
        return target

    async def close(self) -> None:
        """Cancel a token renewal that is under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _authorized(self, stale: str) -> str:
        """Return a token other than `stale`; concurrent callers share one request and its result."""
        if self._token and self._token != stale and time.monotonic() < self._token_until:
            return self._token
        if self._renewal is None:
            self._renewal = asyncio.get_running_loop().create_task(self._renew(), name="poll-token")
            self._renewal.add_done_callback(self._renewed)
        # Shielded, so that the other callers get the token even if the one that started the request is cancelled.
        return await asyncio.shield(self._renewal)

    def _renewed(self, task: asyncio.Task[str]) -> None:
        self._renewal = None
        if not task.cancelled():
            task.exception()  # callers get the error; marked as retrieved in case there are none

    async def _renew(self) -> str:
        form = {
            "grant_type": "client_credentials",
            "scope": self._source.scope,
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
        }
        answer = await self._send("token", hdrs.METH_POST, self._base.join(URL(self._source.token_path)), form=form)
        if answer.status in (400, 401, 403):
            raise FetchError(
                f"the access token was refused with {answer.status}: check `client_id` and `client_secret`"
            )
        if answer.status != 200:
            raise FetchError(f"{SUBJECTS['token']} could not be fetched: the server answered {answer.status}")
        try:
            response = msgspec.json.decode(answer.body, type=_Token, strict=False)
        except (ValueError, RecursionError):
            raise FetchError("the server's answer has no access token") from None
        token = response.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise FetchError("the server's answer has no access token")  # nor usable in a header
        life = TOKEN_LIFE if response.expires_in is None else max(0.0, response.expires_in)
        self._token, self._token_until = token, time.monotonic() + life - min(EARLY, life / 10)
        return token

    async def _send(
        self, kind: str, method: str, url: URL, *, token: str | None = None, form: Mapping[str, str] | None = None
    ) -> _Answer:
        """Send a request, and retry until there is a response that a retry would not change.

        Raises FetchError after the last attempt, and the database errors of the rate limit.
        """
        headers: dict[str, str] = {} if token is None else {hdrs.AUTHORIZATION: f"Bearer {token}"}
        what = ""
        for pause in (*BACK_OFF, None):
            await self._limit.turn()
            requested_pause: float | None = None
            try:
                answer = await self._once(method, url, headers, form)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                what = _reason(error)
                metrics.REQUESTS.labels(kind, type(error).__name__).inc()
            else:
                metrics.REQUESTS.labels(kind, str(answer.status)).inc()
                if answer.status < 500 and answer.status != TOO_MANY:
                    return answer
                what, requested_pause = f"the server answered {answer.status}", answer.retry_after
                if answer.status == TOO_MANY:
                    # All processes that share the limit wait, and our own next turn comes after the pause.
                    await self._limit.pause(
                        min(MAX_PAUSE, BACK_OFF[-1] if requested_pause is None else requested_pause)
                    )
                    continue
            if pause is not None:
                pause *= random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
                await asyncio.sleep(min(MAX_PAUSE, max(pause, requested_pause or 0.0)))
        raise FetchError(f"{SUBJECTS[kind]} could not be fetched in {len(BACK_OFF) + 1} attempts: {what}")

    async def _once(self, method: str, url: URL, headers: Mapping[str, str], form: Mapping[str, str] | None) -> _Answer:
        async with self._http.request(method, url, headers=headers, data=form, allow_redirects=False) as response:
            body = bytearray()
            if response.status == 200:
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > MAX_BODY:
                        raise FetchError(f"the answer is larger than {MAX_BODY} bytes")
            content = encodings.to_utf8(bytes(body), response.headers.get(hdrs.CONTENT_TYPE))
            header = ", ".join(response.headers.getall(hdrs.RETRY_AFTER, ())) or None
            return _Answer(response.status, content, retry_after(header, time.time()))


def _reason(error: Exception) -> str:
    """Return why a request got no answer, without the error's text, which may contain parts of the request."""
    if isinstance(error, TimeoutError):
        return "the server did not answer in time"
    if isinstance(error, aiohttp.ClientSSLError):
        return "no secure connection could be made"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "the server could not be reached"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
        return "the server closed the connection"
    return f"the answer could not be read ({type(error).__name__})"


def retry_after(header: str | None, now: float) -> float | None:
    """Return the seconds to wait that a Retry-After header requests; 0 for a date in the past.

    `now` is the current time in Unix seconds. The result is None if the header is missing or not valid.
    """
    seconds = retryafter.seconds(header, now)
    return None if seconds is None else max(0.0, seconds)
