"""Reports about webhooks out and polled orders."""

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest
from aiohttp import web

from schemas.destinations.guard import Guard
from schemas.platforms.apicbase.config import Poll
from tests.support.delivering import QUICK, all_are, receipt, store, worker
from tests.support.pipeline import running, until
from tests.support.receiver import ReceivedRequest, receiver, subscribe
from tests.unit.deliver.servers import REQUEST, SUCCESS, Names, raw, saying, sender
from workers.poll import client as clients
from workers.poll.apicbase import SOURCE
from workers.poll.client import Client, FetchError
from workers.poll.limit import Limit

STATUS = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        STATUS + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        STATUS + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok",
        STATUS + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        STATUS + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\nok",
        STATUS + b"X-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        STATUS + b"X-Blank : a\r\nContent-Length: 2\r\n\r\nok",
        STATUS + b"Content-Length : 2\r\n\r\nok",
        STATUS + b"X: a\x00b\r\nContent-Length: 2\r\n\r\nok",
        STATUS + b"X Y: z\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\n" + STATUS + b"X-Blank : a\r\nContent-Length: 2\r\n\r\nok",
        STATUS + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
        STATUS + b"Content-Length: 2\r\nTransfer-Encoding: identity\r\n\r\nok",
        b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
        STATUS + b"Content-Length: -1\r\n\r\n",
        STATUS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        STATUS + b"Transfer-Encoding: chunked\r\n\r\n2\r\nokNO\r\n",
    ],
)
async def test_the_status_line_decides_where_the_rest_is_not_quite_http(answer: bytes) -> None:
    """superagent#1373, nodejs#27711: such an answer was an error, and the event was sent ten times.

    Whatever follows the status line, the connection is closed after it.
    """
    for cut in (len(answer), 30, 1):
        requests = 0

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: int = cut) -> None:
            nonlocal requests
            requests += 1
            await reader.readexactly(len(REQUEST.body))
            for start in range(0, len(answer), cut):
                writer.write(answer[start : start + cut])
                await writer.drain()
                await asyncio.sleep(0)
            assert await reader.read() == b""  # closed by us

        async with raw(talk) as server, sender() as opened:
            for count in (1, 2):
                result = await opened.send(server.url(), REQUEST, success=SUCCESS)
                assert (result.outcome, result.status_code) == ("delivered", 200)
                assert (server.connections, requests) == (count, count)


async def test_a_retry_after_in_an_answer_that_is_not_quite_http_counts() -> None:
    """superagent#1373: the same with a refusal."""
    answer = b"HTTP/1.1 429 Slow\r\nX-Blank : a\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n"
    async with raw(saying(answer)) as server, sender() as opened:
        result = await opened.send(server.url(), REQUEST, success=SUCCESS)
    assert (result.outcome, result.status_code, result.retry_after) == ("refused", 429, 120)


async def test_nothing_is_sent_before_the_time_that_a_retry_after_asks_for(
    pool: asyncpg.Pool, database_url: str
) -> None:
    """planningcenter#1154, Equibles#3357: a subscriber that answers everything with 429 was called again and again.

    The pause is the subscription's, costs what waits no attempt, holds over a restart, and ends with its time.
    """
    async with receiver() as subscriber:
        refused = web.Response(status=429, headers={"Retry-After": "3600"})

        async def answer(got: ReceivedRequest) -> web.Response:
            return (
                web.Response(status=refused.status, headers=refused.headers) if got.path == "/busy" else web.Response()
            )

        subscriber.answer = answer
        busy = await subscribe(pool, f"{subscriber.url}/busy", max_in_flight=1, schedule=QUICK)
        await subscribe(pool, f"{subscriber.url}/other")
        await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(5)))
        paused = "SELECT paused_until > now() + interval '59 minutes' FROM crossdock.subscribed WHERE id = $1"
        async with running(worker(database_url)):
            await until(lambda: pool.fetchval(paused, busy))
            await until(lambda: len(subscriber.of("/other")) == 5)
        async with running(worker(database_url)):
            await store(pool, receipt("later", seconds=9))
            await until(lambda: len(subscriber.of("/other")) == 6)
            assert len(subscriber.of("/busy")) == 1
            sql = "SELECT attempts FROM crossdock.outbox WHERE subscription_id = $1 ORDER BY attempts DESC"
            assert [row["attempts"] for row in await pool.fetch(sql, busy)] == [1, 0, 0, 0, 0, 0]
            subscriber.answer = lambda _: web.Response()
            await pool.execute("UPDATE crossdock.subscribed SET paused_until = now()")
            await pool.execute("UPDATE crossdock.outbox SET next_attempt_at = now()")
            await until(lambda: len(subscriber.of("/busy")) == 7)
            await until(lambda: all_are(pool, "delivered"))


async def test_changing_the_url_ends_a_retry_after_pause(pool: asyncpg.Pool, database_url: str) -> None:
    """planningcenter#1154: the time was asked for by the old server."""
    async with receiver() as subscriber:
        subscriber.answer = lambda got: (
            web.Response(status=503, headers={"Retry-After": "3600"}) if got.path == "/old" else web.Response()
        )
        id_ = await subscribe(pool, f"{subscriber.url}/old", max_in_flight=1)
        await store(pool, receipt("1"), receipt("2", seconds=1))
        async with running(worker(database_url)):
            await until(lambda: pool.fetchval("SELECT paused_until FROM crossdock.subscribed"))
            await pool.execute(
                "UPDATE crossdock.subscribed SET url = $2, updated_at = now() WHERE id = $1",
                id_,
                f"{subscriber.url}/new",
            )
            await pool.execute("SELECT pg_notify('crossdock_subscriptions', '')")
            await until(lambda: subscriber.of("/new"))
        assert len(subscriber.of("/old")) == 1


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("64:ff9b::a29f:8ae8", True),
        ("64:ff9b::8.8.8.8", True),
        ("64:ff9b::127.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::808:808", False),
        ("64:ff9b:0:0:0:1:808:808", False),
    ],
)
async def test_behind_nat64_the_ipv4_address_is_judged(address: str, allowed: bool) -> None:
    """keeperhub#1269, rom-m#3675: in an IPv6-only cluster every IPv4 address looks like 64:ff9b::…; private ones never
    may be called."""
    guard = Guard([], allow_http=True)
    assert guard.allowed(address) is allowed
    if not allowed:
        async with sender(allow_networks=[], look_up=Names([address])) as opened:
            answer = await opened.send("http://a.example/", REQUEST, success=SUCCESS)
            assert answer.outcome == "blocked"


@pytest.mark.parametrize(
    ("base", "following", "expected"),
    [
        ("https://api.example", "http://api.example/a?page=2", "https://api.example/a?page=2"),
        ("https://api.example", "http://api.example:443/a?page=2", "https://api.example/a?page=2"),
        ("https://api.example:8443", "http://api.example/a?page=2", "https://api.example:8443/a?page=2"),
        ("https://api.example", "http://other.example/a?page=2", None),
        ("https://api.example", "http://api.example:81/a?page=2", None),
        ("https://api.example", "http://u:p@api.example/a?page=2", None),
        ("http://api.example", "https://other.example/a", None),
    ],
)
async def test_a_next_link_with_http_is_followed_on_the_scheme_of_base_url(
    base: str, following: str, expected: str | None, database_url: str
) -> None:
    """paperless-ngx#3130, DRF#9477: behind a proxy that ends TLS, the API writes `http://` links, and page 2 failed."""
    async with clients.session() as http:
        settings = Poll(client_id="c", client_secret="s", base_url=base)
        api = Client(http, SOURCE, settings, Limit(lambda: asyncpg.create_pool(database_url), base, "c"))
        first = api.first(datetime(2026, 1, 1, tzinfo=UTC))
        if expected is None:
            with pytest.raises(FetchError, match="leads away from the host of `base_url`"):
                api._following(first, following)
        else:
            assert str(api._following(first, following)) == expected


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """outpost#504: the guard judges the address that is connected to, and a proxy would connect to any other."""
    async with raw(saying(b"HTTP/1.1 418 I'm a proxy\r\nContent-Length: 0\r\n\r\n")) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
            monkeypatch.setenv(name.lower(), proxy.url())
        answer = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        async with raw(answer) as server, sender() as opened, clients.session() as http:
            assert (await opened.send(server.url(), REQUEST, success=SUCCESS)).status_code == 200
            async with http.get(server.url()) as response:
                assert response.status == 200
        assert proxy.connections == 0
