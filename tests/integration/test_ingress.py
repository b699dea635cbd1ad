"""The door: what each kind of request is answered, over real sockets and a real broker."""

import asyncio
import contextlib
import gzip
import json
import re

import aiohttp
import msgspec
import orjson
import pytest
from prometheus_client import REGISTRY

from broker import topology
from ingress.hooks import app, outcomes
from schemas import registry
from schemas import topology as declared
from schemas.config import Config
from tests.support import pipeline

WAYS: list[dict[str, str]] = [{}, {"Content-Encoding": "identity"}]
"""Headers that make a post take the short way through the door, and the long one."""
HOOKS = [(name, event.name) for name, platform in registry.platforms().items() for event in platform.events]


async def depth(amqp_url: str, queue: str = "crossdock.store") -> int:
    return (await topology.depths(amqp_url))[queue][0]


async def raw_request(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(65536), 10)
    writer.close()
    return answer


@pytest.mark.parametrize(("platform", "event"), HOOKS)
async def test_wrong_signature_is_refused_and_nothing_is_published(amqp_url: str, platform: str, event: str) -> None:
    async with pipeline.door(amqp_url) as door:
        status, body, headers = await door.post(platform, event, sign=False)
        assert status == registry.platforms()[platform].unauthorized
        for secret in registry.platforms()[platform].secrets(next(iter(door.config.accounts[platform].values()))):
            assert secret.encode() not in body
        wanted = "application/json" if platform == "ustore" else "application/problem+json"
        assert headers["Content-Type"].startswith(wanted)
        assert await depth(amqp_url) == 0


@pytest.mark.parametrize(("platform", "event"), HOOKS)
@pytest.mark.parametrize("case", ["", "unsigned", "over the limit", "no worker", "no broker"])
async def test_the_short_and_the_long_way_say_the_same(
    amqp_url: str, platform: str, event: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alike, and with a header that only the long way knows: the same answer, line and counts."""
    if case == "no broker":
        monkeypatch.setattr(app, "FIRST_CONNECTION_TIMEOUT", 0.2)
    said, lines, counts = [], [], []
    hook = registry.event(platform, event)
    settings = pipeline.config()
    if hook.reply:
        accounts = settings.accounts[platform]
        soon = {hook.reply.timeout_setting: 0.2 if case == "no worker" else 5.0}
        hasty = {name: msgspec.structs.replace(one, **soon) for name, one in accounts.items()}
        settings = msgspec.structs.replace(settings, accounts={**settings.accounts, platform: hasty})
    sign = case != "unsigned"
    async with contextlib.AsyncExitStack() as stack:
        door = await stack.enter_async_context(
            pipeline.door("amqp://guest:guest@127.0.0.1:1/" if case == "no broker" else amqp_url, settings)
        )
        if case == "":
            await stack.enter_async_context(pipeline.running(pipeline.route(amqp_url, settings)))
        if case == "over the limit":
            door.app.reload(limited(settings))
            share = door.app._limiters.of(platform, next(iter(settings.accounts[platform])))
            assert share.acquire() is None
        for headers in WAYS:
            before = counted()
            status, answer, answered = await door.post(platform, event, headers=headers, sign=sign)
            name = answered.get("X-Crossdock-Id", "-")
            kept = {key: value for key, value in answered.items() if key not in ("Date", "Server")}
            said.append((status, answer.replace(name.encode(), b""), {**kept, "X-Crossdock-Id": ""}))
            await pipeline.until(lambda: door.lines)
            line = orjson.loads(door.lines.pop())
            assert line.pop("id", "-") == name
            lines.append({key: value for key, value in line.items() if key not in ("time", "ms")})
            counts.append({key: value - before.get(key, 0) for key, value in counted().items()})
    assert said[0] == said[1]
    assert lines[0] == lines[1]
    assert counts[0] == counts[1]
    waits = hook.reply is not None and hook.reply.on_timeout != "accept"
    expected = {
        "": 200,
        "unsigned": registry.platforms()[platform].unauthorized,
        "over the limit": 429,
        "no worker": 503 if waits else 200,
        "no broker": 503,
    }
    assert said[0][0] == expected[case]


def limited(settings: Config) -> Config:
    """An account may have one request under way."""
    return msgspec.structs.replace(settings, ingress=msgspec.structs.replace(settings.ingress, account_in_flight=1))


def counted() -> dict[tuple[str, ...], float]:
    """All counters of the ingress, and how often its histograms were fed."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in REGISTRY.collect()
        if metric.name in ("crossdock_requests", "crossdock_refused", "crossdock_request_body_bytes")
        or metric.name in ("crossdock_request_seconds", "crossdock_confirm_seconds")
        for sample in metric.samples
        if sample.name.endswith(("_total", "_count"))
    }


async def test_unknown_account_path_and_method(amqp_url: str) -> None:
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


async def test_a_trailing_slash_is_no_redirect(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        url = door.url("channelape", "receipt_confirmation")
        raw = registry.example("channelape", "receipt_confirmation")
        account = door.config.accounts["channelape"]["rothys"]
        query = registry.platforms()["channelape"].sign(raw, account).query
        async with door.session.post(url + "/", data=raw, params=query, allow_redirects=False) as answer:
            assert answer.status == 200


async def test_oversized_body_is_413_and_read_no_further(amqp_url: str) -> None:
    settings = pipeline.config({"ingress": {"max_body": "64KiB"}})
    async with pipeline.door(amqp_url, settings) as door:
        status, _, _ = await door.post("channelape", "receipt_confirmation", b" " * 65537)
        assert status == 413
        path = f"/hooks/channelape/{next(iter(settings.accounts['channelape']))}/receipt-confirmations"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
        assert b" 413 " in (await raw_request(door.app.port, head.encode())).split(b"\r\n")[0]

        async def chunks() -> object:
            for _ in range(100):
                yield b" " * 1024

        async with door.session.post(door.url("channelape", "receipt_confirmation"), data=chunks()) as answer:
            assert answer.status == 413


async def test_a_body_that_does_not_come_is_408(amqp_url: str) -> None:
    settings = pipeline.config({"ingress": {"body_timeout": 0.2}})
    async with pipeline.door(amqp_url, settings) as door:
        path = "/hooks/channelape/rothys/receipt-confirmations"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf of it"
        assert b" 408 " in (await raw_request(door.app.port, head.encode())).split(b"\r\n")[0]


async def test_a_compressed_body_is_415_and_not_unpacked(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        packed = gzip.compress(b"0" * 1_000_000)
        status, _, _ = await door.post(
            "channelape", "receipt_confirmation", packed, headers={"Content-Encoding": "gzip"}
        )
        assert status == 415
        status, _, _ = await door.post("channelape", "receipt_confirmation", headers={"Content-Encoding": "identity"})
        assert status == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"\xff\xfe", b'{"id": "\\u0000"}', b'{"a": 1e400}', b"[" * 100_000, b'{"id":"1","id":"2"}', b"null"],
    ids=["empty", "text", "bad utf-8", "nul", "1e400", "deep", "duplicate keys", "null"],
)
async def test_anything_authentic_is_accepted_and_queued_as_it_is(amqp_url: str, body: bytes) -> None:
    """ChannelApe and eComNow retry or lose what is refused; so it is accepted, and quarantined behind the queue."""
    async with pipeline.door(amqp_url) as door:
        for event in ("stock_transfer_order", "receipt_confirmation"):
            status, answer, _ = await door.post("channelape", event, body)
            assert status == 200, answer
        await pipeline.until(lambda: _is(amqp_url, 2))


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
            answer = await raw_request(door.app.port, head + b"Content-Length: 2\r\n\r\n{}")
            assert b" 200 " in answer.split(b"\r\n")[0], content_type
        await pipeline.until(lambda: _is(amqp_url, 5))


async def _is(amqp_url: str, wanted: int) -> bool:
    return await depth(amqp_url) == wanted


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


async def test_traceparent_is_kept_or_begun(amqp_url: str) -> None:
    import aiormq

    mine = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with pipeline.door(amqp_url) as door:
        await door.post("channelape", "receipt_confirmation", headers={"traceparent": mine})
        await door.post("channelape", "receipt_confirmation", headers={"traceparent": "nonsense"})
        connection = await aiormq.connect(amqp_url)
        channel = await connection.channel()
        found = []
        for _ in range(2):

            async def one() -> object:
                message = await channel.basic_get("crossdock.store")
                return message if message.header.properties.headers else None

            message = await pipeline.until(one)
            properties = message.header.properties
            assert properties.delivery_mode == 2
            assert properties.content_type == "application/json"
            assert properties.headers["platform"] == "channelape"
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", properties.headers["received-at"])
            found.append(properties.headers["traceparent"])
        await connection.close()
    assert found[0] == mine
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", found[1])
    assert found[1] != mine


async def test_without_queues_nothing_is_acknowledged(empty_amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("headers", WAYS, ids=["short way", "long way"])
async def test_a_fault_of_ours_leaves_nobody_waiting(
    amqp_url: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It happens while confirms are read: the others' are heard all the same, over the same connection."""
    async with pipeline.door(amqp_url) as door:
        before = door.app._link.transport
        with monkeypatch.context() as patch:
            patch.setattr(outcomes, "accepted", None)
            if headers:
                status, _, _ = await door.post("channelape", "receipt_confirmation", headers=headers)
                assert status == 503
            else:
                with pytest.raises(aiohttp.ServerDisconnectedError):
                    await door.post("channelape", "receipt_confirmation")
        assert door.app._handler.idle.is_set()
        assert (await door.post("channelape", "receipt_confirmation", headers=headers))[0] == 200
        assert door.app._link.transport is before


@pytest.mark.parametrize("headers", WAYS, ids=["short way", "long way"])
async def test_a_fault_before_a_share_was_taken_gives_none_back(amqp_url: str, headers: dict[str, str]) -> None:
    async with pipeline.door(amqp_url, limited(pipeline.config())) as door:
        hook = registry.event("channelape", "receipt_confirmation").path
        account = next(iter(door.config.accounts["channelape"]))
        route = door.app._handler.settings.routes.by_path[f"/hooks/channelape/{account}/{hook}"]
        route.platform = msgspec.structs.replace(route.platform, verify=lambda *_: 1 / 0)
        assert (await door.post("channelape", "receipt_confirmation", headers=headers))[0] == 503
        assert door.app._limiters.count == door.app._limiters.accounts == 0
        assert door.app._handler.idle.is_set()


@pytest.mark.parametrize(("platform", "event"), HOOKS)
@pytest.mark.parametrize("headers", WAYS, ids=["short way", "long way"])
async def test_what_no_queue_wants_is_refused_once(
    amqp_url: str, platform: str, event: str, headers: dict[str, str]
) -> None:
    """RabbitMQ returns such a message, and then confirms it."""
    settings = limited(pipeline.config())
    async with pipeline.door(amqp_url, settings) as door:
        async with topology.connected(amqp_url) as connection:
            channel = await connection.channel()
            for binding in declared.topology().bindings:
                if binding.exchange in (declared.INBOUND, declared.UNROUTED):
                    await topology.unbind(channel, binding)
        for route in door.app._handler.settings.routes.by_path.values():
            if route.reply_timeout is not None:
                route.reply_timeout = 0.3  # a customer waits for a verdict until then
        for _ in range(3):
            status, _, answered = await door.post(platform, event, headers=headers)
            assert (status, answered["Retry-After"]) == (503, "5")
        assert door.app._handler.idle.is_set()
        assert door.app._limiters.count == 0
        assert len(door.app._replies) == 0
        await pipeline.until(lambda: len(b"".join(door.lines).splitlines()) == 3)


async def test_reload_swaps_secrets_between_two_requests(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
        changed = pipeline.config({"accounts": {"channelape": {"rothys": {"keys": [{"name": "k", "secret": "new"}]}}}})
        door.app.reload(msgspec.structs.replace(changed, ingress=door.config.ingress))
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 401
        door.config = changed
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200


async def test_connections_beyond_the_limit_are_turned_away_while_all_work(amqp_url: str) -> None:
    settings = pipeline.config({"ingress": {"max_connections": 3}})
    async with pipeline.door(amqp_url, settings) as door:
        held = [await asyncio.open_connection("127.0.0.1", door.app.port) for _ in range(3)]
        for _, writer in held:
            writer.write(b"POST /hooks/channelape/rothys/receipt-confirmations HTTP/1.1\r\nHost: x\r\n")
            writer.write(b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        for reader, _ in held:
            assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")
        answer = await raw_request(door.app.port, b"")
        assert answer.startswith(b"HTTP/1.1 503 ")
        for _, writer in held:
            writer.close()
        await pipeline.until(lambda: door.app.connections == 0)
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200


async def test_at_the_limit_those_that_idle_longest_make_room(amqp_url: str) -> None:
    settings = pipeline.config({"ingress": {"max_connections": 3}})
    async with pipeline.door(amqp_url, settings) as door:
        idle = []
        for count in range(1, 4):
            idle.append(await asyncio.open_connection("127.0.0.1", door.app.port))
            await pipeline.until(lambda wanted=count: door.app.connections == wanted)  # type: ignore[misc]
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
        assert await asyncio.wait_for(idle[0][0].read(), 5) == b""
        assert door.app.connections == 3
        for _, writer in idle:
            writer.close()


async def test_many_at_once_each_get_their_own_id(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        answers = await asyncio.gather(*(door.post("channelape", "receipt_confirmation") for _ in range(300)))
        assert {status for status, _, _ in answers} == {200}
        assert len({body for _, body, _ in answers}) == 300
        await pipeline.until(lambda: _is(amqp_url, 300))


async def test_http_1_0_is_answered_and_closed(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        raw = registry.example("channelape", "receipt_confirmation")
        account = door.config.accounts["channelape"]["rothys"]
        query = "&".join(f"{k}={v}" for k, v in registry.platforms()["channelape"].sign(raw, account).query.items())
        head = f"POST /hooks/channelape/rothys/receipt-confirmations?{query} HTTP/1.0\r\nContent-Length: {len(raw)}\r\n"
        answer = await raw_request(door.app.port, head.encode() + b"\r\n" + raw)
        assert b" 200 " in answer.split(b"\r\n")[0]
        assert b'"id"' in answer


async def test_stopping_answers_what_is_under_way(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        posts = [asyncio.ensure_future(door.post("channelape", "receipt_confirmation")) for _ in range(20)]
        await pipeline.until(lambda: any(post.done() for post in posts))
        await door.app.stop()
        answered = list(await asyncio.gather(*posts, return_exceptions=True))
        accepted = [one for one in answered if not isinstance(one, BaseException) and one[0] == 200]
        assert all(isinstance(one, aiohttp.ClientError) or one[0] in (200, 503) for one in answered)  # type: ignore[index]
        assert await depth(amqp_url) >= len(accepted)
