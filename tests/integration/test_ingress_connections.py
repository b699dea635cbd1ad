"""The ingress's connections and its life: limits, concurrent requests, HTTP/1.0, reloading and stopping."""

import asyncio

import aiohttp
import msgspec

from schemas import registry
from tests.support import pipeline
from tests.support.polling import waiting


async def test_reload_swaps_secrets_between_two_requests(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
        changed = pipeline.config({"accounts": {"channelape": {"rothys": {"keys": [{"name": "k", "secret": "new"}]}}}})
        door.app.reload(msgspec.structs.replace(changed, ingress=door.config.ingress))
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 401
        door.config = changed
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200


async def test_connections_beyond_the_limit_are_rejected_while_all_are_busy(amqp_url: str) -> None:
    settings = pipeline.config({"ingress": {"max_connections": 3}})
    async with pipeline.door(amqp_url, settings) as door:
        held = [await asyncio.open_connection("127.0.0.1", door.app.port) for _ in range(3)]
        for _, writer in held:
            writer.write(b"POST /hooks/channelape/rothys/receipt-confirmations HTTP/1.1\r\nHost: x\r\n")
            writer.write(b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        for reader, _ in held:
            assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")
        answer = await door.send(b"")
        assert answer.startswith(b"HTTP/1.1 503 ")
        for _, writer in held:
            writer.close()
        await pipeline.until(lambda: door.app.connections == 0)
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200


async def test_at_the_limit_the_connection_that_idled_longest_is_closed(amqp_url: str) -> None:
    settings = pipeline.config({"ingress": {"max_connections": 3}})
    async with pipeline.door(amqp_url, settings) as door:
        idle = []
        for count in range(1, 4):
            idle.append(await asyncio.open_connection("127.0.0.1", door.app.port))
            await pipeline.until(lambda expected=count: door.app.connections == expected)  # type: ignore[misc]
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
        assert await asyncio.wait_for(idle[0][0].read(), 5) == b""
        assert door.app.connections == 3
        for _, writer in idle:
            writer.close()


async def test_concurrent_requests_each_get_their_own_id(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        answers = await asyncio.gather(*(door.post("channelape", "receipt_confirmation") for _ in range(300)))
        assert {status for status, _, _ in answers} == {200}
        assert len({body for _, body, _ in answers}) == 300
        await pipeline.queued(amqp_url, 300)


async def test_http_1_0_is_answered_and_closed(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        raw = registry.example("channelape", "receipt_confirmation")
        account = door.config.accounts["channelape"]["rothys"]
        query = "&".join(f"{k}={v}" for k, v in registry.platforms()["channelape"].sign(raw, account).query.items())
        head = f"POST /hooks/channelape/rothys/receipt-confirmations?{query} HTTP/1.0\r\nContent-Length: {len(raw)}\r\n"
        answer = await door.send(head.encode() + b"\r\n" + raw)
        assert b" 200 " in answer.split(b"\r\n")[0]
        assert b'"id"' in answer


async def test_requests_in_progress_are_answered_before_it_stops(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        posts = [asyncio.ensure_future(door.post("channelape", "receipt_confirmation")) for _ in range(20)]
        await pipeline.until(lambda: any(post.done() for post in posts))
        await door.app.stop()
        answered = list(await asyncio.gather(*posts, return_exceptions=True))
        accepted = [entry for entry in answered if not isinstance(entry, BaseException) and entry[0] == 200]
        assert all(isinstance(entry, aiohttp.ClientError) or entry[0] in (200, 503) for entry in answered)  # type: ignore[index]
        assert await waiting(amqp_url) >= len(accepted)
