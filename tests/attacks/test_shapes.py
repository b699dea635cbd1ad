"""Requests that two readers may understand differently, that are too large, or that are none (RFC 9112 §6, §9, §11.2).

Every one is an authentic post to the length that its shape says first, with a second request behind: whoever let it
through would answer 200, or the second one.
"""

import json
import logging

import pytest

from schemas import registry
from schemas.config import Config
from tests.attacks import raw
from tests.support import pipeline
from tests.support.api import OPERATOR, TOKEN, api

SECOND = b"GET /smuggled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
AMBIGUOUS: dict[str, bytes] = {
    "length and chunks": b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SECOND,
    "chunks and length": CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n" + SECOND,
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + SECOND,
    "two equal lengths": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + SECOND,
    "a list of lengths": b"Content-Length: 2, 2\r\n\r\n{}" + SECOND,
    "a negative length": b"Content-Length: -2\r\n\r\n{}" + SECOND,
    "a hexadecimal length": b"Content-Length: 0x2\r\n\r\n{}" + SECOND,
    "a signed length": b"Content-Length: +2\r\n\r\n{}" + SECOND,
    "a length with a point": b"Content-Length: 2.0\r\n\r\n{}" + SECOND,
    "a length with an underscore": b"Content-Length: 0_2\r\n\r\n{}" + SECOND,
    "an empty length": b"Content-Length: \r\n\r\n{}" + SECOND,
    "a length beyond 64 bits": b"Content-Length: 18446744073709551618\r\n\r\n{}" + SECOND,
    "a space before the colon": b"Content-Length : 2\r\n\r\n{}" + SECOND,
    "a tab before the colon": b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a folded line": b"Content-Length:\r\n 2\r\n\r\n{}" + SECOND,
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "two codings": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SECOND,
    "chunks twice": CHUNKED + CHUNKED + b"\r\n0\r\n\r\n" + SECOND,
    "another coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a coding in quotes": b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + SECOND,
    "a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a nul": b"Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n" + SECOND,
    "a bare LF in the head": b"Content-Length: 2\nX: y\r\n\r\n{}" + SECOND,
    "a bare CR in the head": b"Content-Length: 2\rX: y\r\n\r\n{}" + SECOND,
    "a bare LF after a chunk's size": CHUNKED + b"\r\n2\n{}\r\n0\r\n\r\n" + SECOND,
    "a bare LF after a chunk": CHUNKED + b"\r\n2\r\n{}\n0\r\n\r\n" + SECOND,
    "a bare LF in an extension": CHUNKED + b"\r\n2;a\n{}\r\n0\r\n\r\n" + SECOND,
    "a negative chunk": CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n" + SECOND,
    "a chunk with 0x": CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n" + SECOND,
    "a chunk beyond 64 bits": CHUNKED + b"\r\n10000000000000002\r\n{}\r\n0\r\n\r\n" + SECOND,
    "a chunk that is longer": CHUNKED + b"\r\n1\r\n{}\r\n0\r\n\r\n" + SECOND,
    "a name in brackets": b"Content-Length: 2\r\nX[]: 1\r\n\r\n{}" + SECOND,
    "no name": b"Content-Length: 2\r\n: 1\r\n\r\n{}" + SECOND,
    "no colon": b"Content-Length: 2\r\nX\r\n\r\n{}" + SECOND,
    "a leading space": b" Content-Length: 2\r\n\r\n{}" + SECOND,
}
"""What follows the request line and Host; all of these are refused."""
LARGE: dict[str, bytes] = {
    "one header": b"X: " + b"a" * 20_000,
    "a header without an end": b"X: " + b"a" * 2_000_000,
    "a name": b"a" * 20_000 + b": x",
    "many headers": b"X: y\r\n" * 2_000,
    "many long headers": (b"X: " + b"a" * 8_000 + b"\r\n") * 500,
}
TARGETS = (
    *(
        b"/hooks/\xff",
        b"/hooks/ustore/\xc3\xa9",
        b"/%",
        b"/%zz",
        b"/%00",
        b"/" + b"a" * 20_000,
        b"//x:a/",
        b"*",
        b"?",
        b"/?%",
    ),
    *(b"http://[::1/", b"http://x:99999/", b"http://\xff/", b"\\", b"/..//..%2f", b"/hooks///", b"/#a", b"a:1", b""),
)
NOT_HTTP = (
    *(
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00" * 100,
        b"\r\n" * 5000 + SECOND,
    ),
    *(
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1x\r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"AMQP\0\0\x09\x01",
    ),
    *(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n", b"x" * 100_000),
)


SOON = pipeline.config({"ingress": raw.SOON})


def begun(config: Config) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\n" % raw.hook(config).encode()


async def test_ambiguous_requests_are_refused_and_never_read_as_two(amqp_url: str) -> None:
    async with pipeline.door(amqp_url, SOON) as door:
        taken: dict[str, list[int]] = {}
        for name, shape in AMBIGUOUS.items():
            statuses = raw.statuses(await raw.ask(door.app.port, begun(door.config) + shape))
            if len(statuses) > 1 or any(not 400 <= status < 500 for status in statuses):
                taken[name] = statuses
        assert taken == {}
        assert b"smuggled" not in b"".join(door.lines)
        assert b'"status":200' not in b"".join(door.lines)
        # The test of the test: the same post without ambiguity is two requests, and both are answered.
        for fine in (b"Content-Length: 2\r\n\r\n{}", CHUNKED + b"\r\n2;a=b\r\n{}\r\n0\r\nX: trailer\r\n\r\n"):
            answer = await raw.ask(door.app.port, begun(door.config) + fine + SECOND)
            assert raw.statuses(answer) == [200, 404]
        await pipeline.until(lambda: b"smuggled" in b"".join(door.lines))


async def test_large_heads_unusual_targets_and_other_protocols_are_answered_4xx(amqp_url: str) -> None:
    async with pipeline.door(amqp_url, SOON) as door:
        sent = {name: begun(door.config) + head + b"\r\n\r\n" for name, head in LARGE.items()}
        sent |= {
            repr(target[:20]): b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target
            for target in TARGETS
        }
        sent |= {repr(data[:20]): data for data in NOT_HTTP}
        for name, data in sent.items():
            try:
                statuses = raw.statuses(await raw.ask(door.app.port, data))
            except TimeoutError:
                pytest.fail(f"{name} hangs")
            assert all(400 <= status < 500 for status in statuses), (name, statuses)


async def test_a_thousand_pipelined_requests_are_answered_in_order(amqp_url: str) -> None:
    async with pipeline.door(amqp_url, SOON) as door:
        post = begun(door.config) + b"Content-Length: 2\r\n\r\n{}"
        wrong = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await raw.ask(door.app.port, (post + wrong) * 499 + post + SECOND)
        assert raw.statuses(answer) == [200, 404] * 500


async def test_an_unreadable_request_is_neither_logged_nor_echoed(
    amqp_url: str, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with pipeline.door(amqp_url, SOON) as door, api(database_url) as client:
        [secret] = registry.platforms()["channelape"].secrets(door.config.accounts["channelape"]["rothys"])
        answers = [
            await raw.ask(door.app.port, b"POST %b HTTP/9.1\r\n\r\n" % raw.hook(door.config).encode()),
            await raw.ask(door.app.port, b"POST %b\xff HTTP/1.1\r\n\r\n" % raw.hook(door.config).encode()),
            await raw.ask(client.app.port, b"GET / HTTP/1.1\r\nAuthorization: %b\x00\r\n\r\n" % _bearer()),
        ]
        for answer in answers:
            head, _, body = answer.partition(b"\r\n\r\n")
            assert b"Content-Type: application/problem+json" in head
            assert json.loads(body)["status"] == 400
        for place in (caplog.text.encode(), *answers, *door.lines):
            assert secret.encode() not in place
            assert TOKEN.encode() not in place
        assert caplog.text.count("malformed request") == 3


def _bearer() -> bytes:
    return OPERATOR["Authorization"].encode()
