"""Apicbase's API: a token, then pages of purchase orders. Knows nothing of queues and cursors.

Nothing here ever says a secret: errors name the request, the status and the kind of failure, never a body or a header.
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
from schemas.platforms.apicbase.config import Poll
from workers.poll import metrics
from workers.poll.limit import Limit

TIMEOUT = 30.0
"""Seconds for one request and its whole answer."""
MAX_BODY = 32 * 1024 * 1024
"""Bytes of one answer. 200 orders have well under one megabyte."""
PAGE_SIZE = 200
BACK_OFF = (1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts of one request, ±50 %: after 15 s in all the poll has failed, and is begun again later."""
MAX_PAUSE = 3600.0
"""Seconds that we let ourselves be told to wait at a time."""
TOKEN_LIFE = 3600.0
"""Seconds, where the answer doesn't say. Apicbase documents 604,800."""
EARLY = 60.0
"""Seconds before its end that a token is renewed; a tenth of its life if that is less."""

_TOKEN = "oauth/token/"  # noqa: S105 - a path
_ORDERS = "api/v2/integrations/suppliers/purchase_orders/"
TOO_MANY = 429


class Failed(Exception):
    """The API didn't give what was asked for, and asking again at once wouldn't help. Safe to show."""


class Page(msgspec.Struct, frozen=True):
    """One answer: orders as the bytes that came, and where the next page is."""

    results: list[bytes]
    next: URL | None


class _Page(msgspec.Struct, frozen=True):
    results: list[msgspec.Raw]
    next: str | None = None


class _Token(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float | None = None


class _Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    retry_after: float | None


def session() -> aiohttp.ClientSession:
    """No proxy of the environment, no cookies. One slow API holds up no other: connections aren't limited here."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={hdrs.USER_AGENT: "crossdock", hdrs.ACCEPT: "application/json"},
        timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        trust_env=False,
    )


class Client:
    """One pair of credentials at one address; its accounts share the token and the limit."""

    def __init__(self, http: aiohttp.ClientSession, settings: Poll, limit: Limit) -> None:
        self._http = http
        self._settings = settings
        self._limit = limit
        self._base = URL(settings.base_url.rstrip("/") + "/")
        self._token = ""
        self._token_until = 0.0
        """By time.monotonic."""
        self._renewal: asyncio.Task[str] | None = None

    def first(self, after: datetime) -> URL:
        """The first page of what was ordered after a day. A day, and no time: filters by day and by time take it."""
        query = {"status": "ORDERED", "ordered_on__gt": after.date().isoformat(), "page_size": str(PAGE_SIZE)}
        return self._base.join(URL(_ORDERS)).with_query(query)

    async def page(self, url: URL) -> Page:
        """Raises Failed, and the database's errors from the limit."""
        token = await self._authorized("")
        answer = await self._send("page", hdrs.METH_GET, url, token=token)
        if answer.status == 401:  # expired early, or was revoked: once is normal
            answer = await self._send("page", hdrs.METH_GET, url, token=await self._authorized(token))
        if answer.status == 401:
            raise Failed("page: 401 with a new token: is the client allowed to read supplier orders?")
        if answer.status != 200:
            raise Failed(f"page: answered {answer.status}")
        try:
            page = msgspec.json.decode(encodings.by_mark(answer.body)[0], type=_Page)
        except (ValueError, RecursionError):
            raise Failed("page: the answer is not a page of results") from None
        return Page([bytes(one) for one in page.results], self._following(url, page.next))

    def _following(self, url: URL, following: str | None) -> URL | None:
        if not following:
            return None
        try:
            found = url.join(URL(following))
            if found.scheme == "http" and self._base.scheme == "https" and found.port in (80, self._base.port):
                # Behind a proxy that ends TLS, the API writes links with the scheme that it sees itself.
                found = found.with_scheme("https").with_port(self._base.explicit_port)
            same = found.origin() == self._base.origin() and found.user is None and found.password is None
        except ValueError:
            same = False
        if not same:
            raise Failed("page: `next` leads away from the host of `base_url`, and the token must not go there")
        return found

    async def close(self) -> None:
        """Ends a renewal under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _authorized(self, stale: str) -> str:
        """A token other than `stale`. However many ask, one request is under way; they share what comes of it."""
        if self._token and self._token != stale and time.monotonic() < self._token_until:
            return self._token
        if self._renewal is None:
            self._renewal = asyncio.get_running_loop().create_task(self._renew(), name="poll-token")
            self._renewal.add_done_callback(self._renewed)
        # Shielded: the others wait for it even if the one that began it is cancelled.
        return await asyncio.shield(self._renewal)

    def _renewed(self, task: asyncio.Task[str]) -> None:
        self._renewal = None
        if not task.cancelled():
            task.exception()  # whoever waits has it; if nobody does, it is no news

    async def _renew(self) -> str:
        form = {
            "grant_type": "client_credentials",
            "scope": "supplier",
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
        }
        answer = await self._send("token", hdrs.METH_POST, self._base.join(URL(_TOKEN)), form=form)
        if answer.status in (400, 401, 403):
            raise Failed(f"token: answered {answer.status}: check `client_id` and `client_secret`")
        if answer.status != 200:
            raise Failed(f"token: answered {answer.status}")
        try:
            said = msgspec.json.decode(encodings.by_mark(answer.body)[0], type=_Token, strict=False)
        except (ValueError, RecursionError):
            raise Failed("token: the answer is not a token") from None
        token = said.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise Failed("token: the answer is not a token")  # and would be no header
        life = TOKEN_LIFE if said.expires_in is None else max(0.0, said.expires_in)
        self._token, self._token_until = token, time.monotonic() + life - min(EARLY, life / 10)
        return token

    async def _send(
        self, kind: str, method: str, url: URL, *, token: str | None = None, form: Mapping[str, str] | None = None
    ) -> _Answer:
        """Attempts until there is an answer that another attempt wouldn't change. Raises Failed after the last."""
        headers: dict[str, str] = {} if token is None else {hdrs.AUTHORIZATION: f"Bearer {token}"}
        what = ""
        for pause in (*BACK_OFF, None):
            await self._limit.turn()
            told: float | None = None
            try:
                answer = await self._once(method, url, headers, form)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                what = type(error).__name__  # says enough, and holds nothing of the request
                metrics.REQUESTS.labels(kind, what).inc()
            else:
                metrics.REQUESTS.labels(kind, str(answer.status)).inc()
                if answer.status < 500 and answer.status != TOO_MANY:
                    return answer
                what, told = f"answered {answer.status}", answer.retry_after
                if answer.status == TOO_MANY:
                    # All that share the limit wait, here or elsewhere; our own next turn comes after it.
                    await self._limit.pause(min(MAX_PAUSE, BACK_OFF[-1] if told is None else told))
                    continue
            if pause is not None:
                pause *= random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
                await asyncio.sleep(min(MAX_PAUSE, max(pause, told or 0.0)))
        raise Failed(f"{kind}: {what}, {len(BACK_OFF) + 1} times")

    async def _once(self, method: str, url: URL, headers: Mapping[str, str], form: Mapping[str, str] | None) -> _Answer:
        async with self._http.request(method, url, headers=headers, data=form, allow_redirects=False) as response:
            body = bytearray()
            if response.status == 200:
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > MAX_BODY:
                        raise Failed(f"the answer is larger than {MAX_BODY} bytes")
            return _Answer(
                response.status, bytes(body), retry_after(response.headers.get(hdrs.RETRY_AFTER), time.time())
            )


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds from `now` (Unix) that an answer asks to wait, 0 for a date that is past. None if it says nothing."""
    seconds = retryafter.seconds(header, now)
    return None if seconds is None else max(0.0, seconds)
