"""Attempts that fail, each in its own way, and what their errors must not contain."""

import asyncio
import socket
import struct

import msgspec
import pytest

from tests.unit.deliver.servers import REQUEST, SUCCESS, hanging, http_response, raw, saying, sender


async def test_a_server_that_hangs_is_a_timeout() -> None:
    async with raw(hanging) as server, sender(timeout=0.3) as client:
        answer = await client.send(server.url(), REQUEST, success=SUCCESS)
        assert (answer.outcome, answer.status_code) == ("timeout", None)
        assert answer.duration_ms > 290


async def test_a_head_that_never_ends_is_a_timeout() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n")
        await hanging(reader, writer)

    async with raw(talk) as server, sender(timeout=1) as client:
        answer = await client.send(server.url(), REQUEST, success=SUCCESS)
        assert (answer.outcome, answer.status_code) == ("timeout", None)


async def test_attempts_that_hang_delay_no_other() -> None:
    async with raw(hanging) as slow, raw(saying(http_response("200 OK"))) as quick, sender(timeout=30) as client:
        waiting = [asyncio.create_task(client.send(slow.url(), REQUEST, success=SUCCESS)) for _ in range(150)]
        answers = [await client.send(quick.url(), REQUEST, success=SUCCESS) for _ in range(5)]
        assert {answer.outcome for answer in answers} == {"delivered"}
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(each) for each in ended} == {asyncio.CancelledError}


async def test_a_closed_port_is_a_connection_error() -> None:
    with socket.socket() as bound:  # bound but not listening, so that no other process gets the port
        bound.bind(("127.0.0.1", 0))
        async with sender() as client:
            url = f"http://127.0.0.1:{bound.getsockname()[1]}/?token=s3cret"
            answer = await client.send(url, REQUEST, success=SUCCESS)
    assert (answer.outcome, answer.error) == ("connection", "connection refused")


async def test_an_unknown_name_is_a_connection_error() -> None:
    async with sender() as client:
        answer = await client.send("http://nowhere.invalid/?token=s3cret", REQUEST, success=SUCCESS)
    assert (answer.outcome, answer.error) == ("connection", "the host's name was not found")


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n"])
@pytest.mark.parametrize("hard", [True, False])
async def test_a_connection_that_breaks_off_is_a_connection_error(start: bytes, hard: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(REQUEST.body))
        writer.write(start)
        await writer.drain()
        if hard:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async with raw(talk) as server, sender() as client:
        answer = await client.send(server.url(), REQUEST, success=SUCCESS)
        assert answer.outcome == "connection"
        assert answer.status_code in (None, 200)
        assert answer.error


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02garbage\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc OK\r\n\r\n",
        b"no colon\r\n\r\n",
    ],
)  # fmt: skip
async def test_garbage_is_a_connection_error(garbage: bytes) -> None:
    async with raw(saying(garbage)) as server, sender() as client:
        answer = await client.send(server.url("/?token=s3cret"), REQUEST, success=SUCCESS)
    assert answer.outcome == "connection"
    assert "s3cret" not in repr(answer)


@pytest.mark.parametrize(
    ("url", "networks", "allow_http"),
    [
        ("http://127.0.0.1:{port}/", [], True),
        ("http://localhost:{port}/", [], True),
        ("http://127.1:{port}/", [], True),
        ("http://[::ffff:127.0.0.1]:{port}/", [], True),
        ("http://127.0.0.1:{port}/", ["127.0.0.0/8"], False),
        ("http://u:p@127.0.0.1:{port}/", ["127.0.0.0/8"], True),
        ("nonsense", ["127.0.0.0/8"], True),
    ],
)
async def test_urls_that_the_guard_refuses_are_blocked(url: str, networks: list[str], allow_http: bool) -> None:
    async with raw(hanging) as server, sender(allow_networks=networks, allow_http=allow_http) as client:
        answer = await client.send(url.format(port=server.port), REQUEST, success=SUCCESS)
        assert (answer.outcome, answer.status_code) == ("blocked", None)
        assert answer.error
        assert server.connections == 0


@pytest.mark.parametrize("spelling", ["127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]"])
async def test_the_address_that_was_checked_is_the_address_that_is_called(spelling: str) -> None:
    async with raw(saying(http_response("200 OK"))) as server, sender() as client:
        answer = await client.send(f"http://{spelling}:{server.port}/", REQUEST, success=SUCCESS)
    assert answer.outcome == "delivered"


async def test_a_header_with_a_line_break_is_not_sent() -> None:
    request = msgspec.structs.replace(REQUEST, headers={"Authorization": "s3cret\r\nX-Other: 1"})
    async with raw(hanging) as server, sender() as client:
        answer = await client.send(server.url(), request, success=SUCCESS)
        assert answer.outcome == "blocked"
        assert "s3cret" not in repr(answer)
        assert server.connections == 0


async def test_secrets_are_in_no_error_repr_or_log(caplog: pytest.LogCaptureFixture) -> None:
    request = msgspec.structs.replace(REQUEST, headers={"Authorization": "Basic s3cret"}, query=(("key", "s3cret"),))
    talks = [hanging, saying(b""), saying(b"garbage\r\n\r\n"), saying(http_response("500 s3cret", body=b"s3cret"))]
    with caplog.at_level("DEBUG"):
        for talk in talks:
            async with raw(talk) as server, sender(timeout=0.3) as client:
                urls = [server.url("/s?own=s3cret-too", scheme) for scheme in ("http", "https")]
                for url in [*urls, "http://10.0.0.1/?s3cret", "http://s3cret.invalid:0/", "http://s3cret@s3cret/"]:
                    answer = await client.send(url, request, success=SUCCESS)
                    assert answer.outcome != "delivered"
                    for text in (repr(answer), str(answer), answer.error or "", answer.response.decode()):
                        assert "s3cret" not in text
    assert "s3cret" not in caplog.text


async def test_an_unexpected_error_is_returned_too(caplog: pytest.LogCaptureFixture) -> None:
    async with sender() as client:
        broken = msgspec.structs.replace(REQUEST, headers={"s3cret": "x"}, body="s3cret")
        async with raw(hanging) as server:
            answer = await client.send(server.url(), broken, success=SUCCESS)
    assert answer.outcome in ("connection", "blocked")
    assert "s3cret" not in caplog.text + repr(answer)


async def test_a_closed_sender_returns_errors() -> None:
    async with raw(hanging) as server, sender() as client:
        under_way = asyncio.create_task(client.send(server.url(), REQUEST, success=SUCCESS))
        while not server.connections:
            await asyncio.wait([under_way], timeout=0.01)
        await client.close()
        assert (await under_way).outcome == "connection"
        assert (await client.send(server.url(), REQUEST, success=SUCCESS)).outcome == "connection"
