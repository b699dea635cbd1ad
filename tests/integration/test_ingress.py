"""The ingress over real sockets and a real broker: what each kind of request is answered, and what is queued of it."""

import gzip
import json
import re

import pytest

from broker import topology
from ingress.hooks import app
from schemas import registry
from tests.support import pipeline
from tests.support.polling import waiting

HOOKS = [(name, event.name) for name, platform in registry.platforms().items() for event in platform.events]


@pytest.mark.parametrize(("platform", "event"), HOOKS)
async def test_a_wrong_signature_is_refused_and_nothing_is_published(amqp_url: str, platform: str, event: str) -> None:
    async with pipeline.door(amqp_url) as door:
        status, body, headers = await door.post(platform, event, sign=False)
        assert status == registry.platforms()[platform].unauthorized
        for secret in registry.platforms()[platform].secrets(next(iter(door.config.accounts[platform].values()))):
            assert secret.encode() not in body
        content_type = "application/json" if platform == "ustore" else "application/problem+json"
        assert headers["Content-Type"].startswith(content_type)
        assert await waiting(amqp_url) == 0


async def test_an_unknown_account_path_or_method_is_404_or_405(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        url = door.url("channelape", "receipt_confirmation")
        async with door.session.post(url.replace("/rothys/", "/nobody/")) as answer:
            assert answer.status == 404
        async with door.session.post(url.replace("/hooks/", "/elsewhere/")) as answer:
            assert answer.status == 404
        async with door.session.get(url) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        async with door.session.post(door.url("ustore", "manufacturer_allocation").replace("printshop", "x")) as answer:
            assert answer.status == 404
            assert json.loads(await answer.read())["message"]


async def test_a_trailing_slash_is_accepted_without_a_redirect(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        url = door.url("channelape", "receipt_confirmation")
        raw = registry.example("channelape", "receipt_confirmation")
        account = door.config.accounts["channelape"]["rothys"]
        query = registry.platforms()["channelape"].sign(raw, account).query
        async with door.session.post(url + "/", data=raw, params=query, allow_redirects=False) as answer:
            assert answer.status == 200


async def test_an_oversized_body_is_413_and_read_no_further(amqp_url: str) -> None:
    settings = pipeline.config({"ingress": {"max_body": "64KiB"}})
    async with pipeline.door(amqp_url, settings) as door:
        status, _, _ = await door.post("channelape", "receipt_confirmation", b" " * 65537)
        assert status == 413
        path = f"/hooks/channelape/{next(iter(settings.accounts['channelape']))}/receipt-confirmations"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
        assert b" 413 " in (await door.send(head.encode())).split(b"\r\n")[0]

        async def chunks() -> object:
            for _ in range(100):
                yield b" " * 1024

        async with door.session.post(door.url("channelape", "receipt_confirmation"), data=chunks()) as answer:
            assert answer.status == 413


async def test_a_body_that_does_not_arrive_is_408(amqp_url: str) -> None:
    settings = pipeline.config({"ingress": {"body_timeout": 0.2}})
    async with pipeline.door(amqp_url, settings) as door:
        path = "/hooks/channelape/rothys/receipt-confirmations"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf of it"
        assert b" 408 " in (await door.send(head.encode())).split(b"\r\n")[0]


async def test_a_compressed_body_is_415_and_not_unpacked(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        compressed = gzip.compress(b"0" * 1_000_000)
        status, _, _ = await door.post(
            "channelape", "receipt_confirmation", compressed, headers={"Content-Encoding": "gzip"}
        )
        assert status == 415
        status, _, _ = await door.post("channelape", "receipt_confirmation", headers={"Content-Encoding": "identity"})
        assert status == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"\xff\xfe", b'{"id": "\\u0000"}', b'{"a": 1e400}', b"[" * 100_000, b'{"id":"1","id":"2"}', b"null"],
    ids=["empty", "text", "bad utf-8", "nul", "1e400", "deep", "duplicate keys", "null"],
)
async def test_any_authentic_body_is_accepted_and_queued_unchanged(amqp_url: str, body: bytes) -> None:
    """ChannelApe and eComNow retry or lose what is refused; so it is accepted, and quarantined behind the queue."""
    async with pipeline.door(amqp_url) as door:
        for event in ("stock_transfer_order", "receipt_confirmation"):
            status, answer, _ = await door.post("channelape", event, body)
            assert status == 200, answer
        await pipeline.queued(amqp_url, 2)


async def test_any_content_type_is_accepted_and_queued_as_far_as_it_is_text(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        account = door.config.accounts["channelape"]["rothys"]
        [query] = registry.platforms()["channelape"].sign(b"", account).query.items()
        path = f"/hooks/channelape/rothys/receipt-confirmations?{query[0]}={query[1]}"
        for content_type in (
            b"\xff",
            b"a/b; c=\xed\xa0\x80",
            b"x" * 300,
            "é".encode() * 200,
            b"a" + "é".encode() * 200,
        ):
            head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\n" % (path.encode(), content_type)
            answer = await door.send(head + b"Content-Length: 2\r\n\r\n{}")
            assert b" 200 " in answer.split(b"\r\n")[0], content_type
        await pipeline.queued(amqp_url, 5)


async def test_the_query_string_reaches_no_log_line(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        await door.post("channelape", "receipt_confirmation")
        await door.post("channelape", "receipt_confirmation", sign=False)
        async with door.session.post(door.url("channelape", "receipt_confirmation") + "x?token=very-secret") as answer:
            assert answer.status == 404
        await pipeline.until(lambda: len(door.lines) >= 3)
        log = b"".join(door.lines)
        assert b"very-secret" not in log
        assert b"?" not in log
        for secret in registry.platforms()["channelape"].secrets(door.config.accounts["channelape"]["rothys"]):
            assert secret.encode() not in log
        for line in log.splitlines():
            fields = json.loads(line)
            assert fields["message"] == "request"
            assert fields["status"] in (200, 401, 404)


async def test_a_valid_traceparent_is_kept_and_otherwise_a_trace_begins(amqp_url: str) -> None:
    import aiormq

    sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with pipeline.door(amqp_url) as door:
        await door.post("channelape", "receipt_confirmation", headers={"traceparent": sent})
        await door.post("channelape", "receipt_confirmation", headers={"traceparent": "nonsense"})
        connection = await aiormq.connect(amqp_url)
        channel = await connection.channel()
        received = []
        for _ in range(2):

            async def next_message() -> object:
                message = await channel.basic_get("crossdock.store")
                return message if message.header.properties.headers else None

            message = await pipeline.until(next_message)
            properties = message.header.properties
            assert properties.delivery_mode == 2
            assert properties.content_type == "application/json"
            assert properties.headers["platform"] == "channelape"
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", properties.headers["received-at"])
            received.append(properties.headers["traceparent"])
        await connection.close()
    assert received[0] == sent
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", received[1])
    assert received[1] != sent


async def test_without_the_exchange_requests_are_refused(empty_amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that holds nothing of ours: the exchange is missing, so there is nothing to be safe in."""
    monkeypatch.setattr(app, "FIRST_CONNECTION_TIMEOUT", 0.2)
    settings = pipeline.config({"ingress": {"confirm_timeout": 1.0}})
    async with pipeline.door(empty_amqp_url, settings) as door:
        status, _, headers = await door.post("channelape", "receipt_confirmation")
        assert status == 503
        assert int(headers["Retry-After"]) > 0
        await topology.apply(empty_amqp_url)

        async def accepted() -> bool:
            return (await door.post("channelape", "receipt_confirmation"))[0] == 200

        await pipeline.until(accepted)
