"""Attempts against real servers, and the outcome of each response."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import version

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.deliver.servers import REQUEST, SUCCESS, http_response, raw, saying, sender
from workers.deliver.attempt.result import retry_after


async def test_the_request_arrives_as_given_and_without_additions() -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        seen.append((request.method, request.raw_path, dict(request.headers), await request.read()))
        return web.Response(text="thanks", headers={"Set-Cookie": "session=1"})

    request = msgspec.structs.replace(
        REQUEST,
        headers={"Content-Type": "application/cloudevents+json", "webhook-id": "1"},
        query=(("key", "s p+a/ß"),),
    )
    server = RawTestServer(handle)
    await server.start_server()
    try:
        async with sender() as client:
            for _ in range(2):
                url = f"http://127.0.0.1:{server.port}/A%2fb%20c?x=%20y&z=a+b"
                answer = await client.send(url, request, success=SUCCESS)
                assert (answer.outcome, answer.status_code, answer.response) == ("delivered", 200, b"thanks")
                assert (answer.error, answer.retry_after, answer.gone) == (None, None, False)
                assert 0 < answer.duration_ms < 10_000
    finally:
        await server.close()
    assert seen[0] == seen[1]  # no cookie came back
    method, path, headers, body = seen[0]
    assert (method, path, body) == ("POST", "/A%2fb%20c?x=%20y&z=a+b&key=s%20p%2Ba%2F%C3%9F", REQUEST.body)
    headers.pop("Host")
    assert headers == {
        "Content-Type": "application/cloudevents+json",
        "webhook-id": "1",
        "User-Agent": f"Crossdock/{version('crossdock')}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Content-Length": str(len(REQUEST.body)),
    }


async def test_a_body_of_megabytes_is_sent_whole() -> None:
    received: list[int] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        received.append(sum([len(chunk) async for chunk in request.content.iter_any()]))
        return web.Response()

    server = RawTestServer(handle)
    await server.start_server()
    try:
        async with sender() as client:
            body = b"x" * 5_000_000
            url = f"http://127.0.0.1:{server.port}/"
            answer = await client.send(url, msgspec.structs.replace(REQUEST, body=body), success=SUCCESS)
            assert answer.outcome == "delivered"
    finally:
        await server.close()
    assert received == [5_000_000]


@pytest.mark.parametrize(
    ("status", "success", "outcome"),
    [
        ("200 OK", SUCCESS, "delivered"),
        ("204 No Content", SUCCESS, "delivered"),
        ("299 Odd", SUCCESS, "delivered"),
        ("300 Choices", SUCCESS, "refused"),
        ("304 Not Modified", range(200, 400), "delivered"),
        ("400 Bad Request", SUCCESS, "refused"),
        ("401 Unauthorized", SUCCESS, "refused"),
        ("407 Proxy", SUCCESS, "refused"),
        ("410 Gone", SUCCESS, "refused"),
        ("500 Oh", SUCCESS, "refused"),
        ("999 Strange", SUCCESS, "refused"),
    ],
)
async def test_the_status_code_determines_the_outcome(status: str, success: range, outcome: str) -> None:
    async with raw(saying(http_response(status))) as server, sender() as client:
        answer = await client.send(server.url(), REQUEST, success=success)
    assert (answer.outcome, answer.status_code) == (outcome, int(status[:3]))
    assert answer.gone is (status == "410 Gone")
    assert (answer.error is None) is (outcome == "delivered")


@pytest.mark.parametrize(
    ("status", "outcome"), [(301, "refused"), (302, "refused"), (307, "refused"), (308, "refused")]
)
async def test_redirects_are_not_followed(status: int, outcome: str) -> None:
    async with raw(saying(http_response("200 OK"))) as target, sender() as client:
        async with raw(saying(http_response(f"{status} Moved", f"Location: {target.url()}"))) as server:
            answer = await client.send(server.url(), REQUEST, success=SUCCESS)
            assert (answer.outcome, answer.status_code) == (outcome, status)
            assert "redirects are not followed" in (answer.error or "")
            answer = await client.send(server.url(), REQUEST, success=range(200, 400))
            assert answer.outcome == "delivered"
        assert target.connections == 0


def http_date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Unavailable"])
@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("120", 120, 120),
        (" 7 ", 7, 7),
        ("1.5", 2, 2),
        ("3.0", 3, 3),
        (3600, 3000, 3600),
        ("86401", 86400, 86400),
        ("9" * 5000, 86400, 86400),
        (1e6, 86400, 86400),
    ],
)
async def test_retry_after_is_read_in_both_forms(status: str, text: str | float, low: float, high: float) -> None:
    """A number stands for the date that many seconds from now."""
    text = text if isinstance(text, str) else http_date(text)
    async with raw(saying(http_response(status, f"Retry-After: {text}"))) as server, sender() as client:
        answer = await client.send(server.url(), REQUEST, success=SUCCESS)
    assert answer.outcome == "refused"
    assert answer.retry_after is not None
    assert low <= answer.retry_after <= high


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("429 Too Many", "0"), ("429 Too Many", "-5"), ("429 Too Many", "soon"),
        ("503 Away", ""), ("503 Away", "Wed, 21 Oct 2015 07:28:00 GMT"), ("503 Away", "Wed, 99 Oct 2099 07:28:00 GMT"),
        ("503 Away", "٣"), ("500 Oh", "120"), ("200 OK", "120"), ("302 Found", "120"), ("410 Gone", "120"),
    ],
)  # fmt: skip
async def test_other_retry_after_headers_are_ignored(status: str, text: str) -> None:
    async with raw(saying(http_response(status, f"Retry-After: {text}"))) as server, sender() as client:
        answer = await client.send(server.url(), REQUEST, success=SUCCESS)
    assert answer.status_code == int(status[:3])
    assert answer.retry_after is None


@given(st.text() | st.from_regex(r"\A\w{0,3},? ?\d{1,5} \w{3} \d{1,5} \d+:\d+:\d+ [-+\w]+\Z"), st.floats(0, 4e9))
def test_any_retry_after_is_parsed_or_ignored(text: str, now: float) -> None:
    seconds = retry_after(text, now)
    assert seconds is None or 0 < seconds <= 86400


async def test_four_kibibytes_of_ten_mebibytes_are_kept() -> None:
    async with raw(saying(http_response("200 OK", body=b"x" * (10 << 20)))) as server, sender() as client:
        answer = await client.send(server.url(), REQUEST, success=SUCCESS)
    assert (answer.outcome, answer.response) == ("delivered", b"x" * 4096)


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_endless_response_is_cut_and_read_no_further(chunked: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"\r\n"))
        while True:  # until the client is gone
            writer.write(b"1000\r\n" + b"y" * 4096 + b"\r\n" if chunked else b"y" * 4096)
            await writer.drain()

    async with raw(talk) as server, sender() as client:
        answer = await client.send(server.url(), REQUEST, success=SUCCESS)
        assert (answer.outcome, answer.response) == ("delivered", b"y" * 4096)


@pytest.mark.parametrize(("size", "connections"), [(0, 1), (100, 1), (4095, 1), (4096, 1), (1 << 20, 2)])
async def test_connections_are_reused_only_after_short_responses(size: int, connections: int) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readexactly(len(REQUEST.body))
            writer.write(http_response("200 OK", body=b"z" * size))
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")

    async with raw(talk) as server, sender() as client:
        for _ in range(2):
            answer = await client.send(server.url(), REQUEST, success=SUCCESS)
            assert answer.response == b"z" * min(size, 4096)
        assert server.connections == connections
        await client.close()


async def test_a_kept_connection_that_the_server_closes_is_not_a_failure() -> None:
    async with (
        raw(saying(http_response("200 OK"))) as server,
        sender() as client,
    ):
        for _ in range(20):
            answer = await client.send(server.url(), REQUEST, success=SUCCESS)
            assert answer.outcome == "delivered"


async def test_an_attempt_fails_once_a_new_connection_is_closed_too() -> None:
    answers = [http_response("200 OK")]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(REQUEST.body))
        if answers:
            writer.write(answers.pop())
            await reader.readuntil(b"\r\n\r\n")  # the second request on this connection: closed without an answer

    async with raw(talk) as server, sender() as client:
        outcomes = [(await client.send(server.url(), REQUEST, success=SUCCESS)).outcome for _ in range(2)]
        assert outcomes == ["delivered", "connection"]
        assert server.connections == 2


async def test_a_compressed_response_is_kept_as_received() -> None:
    body = b"\x1f\x8b not really"
    async with raw(saying(http_response("400 No", "Content-Encoding: gzip", body=body))) as server, sender() as client:
        answer = await client.send(server.url(), REQUEST, success=SUCCESS)
    assert (answer.outcome, answer.response) == ("refused", body)
