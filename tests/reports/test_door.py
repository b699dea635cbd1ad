"""Public reports about receiving webhooks: targets, headers, secrets, sizes, connections."""

import asyncio
import json
import socket
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from yarl import URL

from schemas import registry
from schemas.config import Config, Ingress, parse_size
from schemas.platforms.apicbase import signing
from tests.faults.proxy import Proxy
from tests.support import pipeline
from tests.support.pipeline import RunningIngress

WAYS = ["", "Content-Encoding: identity\r\n"]
"""Headers that make a post take the fast path through the ingress, and the other one."""
BODY = registry.example("channelape", "receipt_confirmation")


def config(**ingress: Any) -> Config:
    account = {"keys": [{"name": "token", "secret": "KBc+fU/5=="}]}
    return pipeline.config({"accounts": {"channelape": {"rothys": account}}, "ingress": ingress})


def path(door: RunningIngress, query: str = "token=KBc%2BfU%2F5%3D%3D") -> str:
    return f"{URL(door.url('channelape', 'receipt_confirmation')).path}?{query}"


def request(target: str, headers: str = "", body: bytes = BODY, host: str = "crossdock.example") -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def exchange(port: int, data: bytes, *, host: str = "127.0.0.1", half_close: bool = False) -> int:
    """Status of the answer."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(data)
        if half_close:
            writer.write_eof()
        line = await asyncio.wait_for(reader.readline(), 20)
        return int(line.split()[1])
    finally:
        writer.close()


@pytest.mark.parametrize("way", WAYS)
async def test_a_secret_counts_as_sent_and_percent_encoded(amqp_url: str, way: str) -> None:
    """mattermost-plugin-jira#33, #1183: a secret with +, / and = in the query string."""
    async with pipeline.door(amqp_url, config()) as door:
        for query, status in (
            ("token=KBc+fU/5==", 200),
            ("token=KBc%2BfU%2F5%3D%3D", 200),
            ("token=KBc%2BfU/5%3d=", 200),
            ("token=KBc%20fU/5==", 401),
            ("token=KBc+fU/5=", 401),
            ("token=", 401),
        ):
            assert await exchange(door.app.port, request(path(door, query), way)) == status, query


@pytest.mark.parametrize("way", WAYS)
async def test_the_absolute_form_is_served_like_the_origin_form(amqp_url: str, way: str) -> None:
    """RFC 9112 §3.2.2, cpython#132741: clients behind a forward proxy send the whole URL."""
    async with pipeline.door(amqp_url, config()) as door:
        for scheme in ("http", "HTTPS"):
            target = f"{scheme}://another.example:8080{path(door)}"
            assert await exchange(door.app.port, request(target, way)) == 200
        assert await exchange(door.app.port, request("http://another.example/nowhere", way)) == 404


@pytest.mark.parametrize("way", WAYS)
async def test_a_path_may_be_written_in_other_ways(amqp_url: str, way: str) -> None:
    """RFC 3986 §2.3 and §6.2.2: a base URL that ends with a slash, and hyphens that a client encodes."""
    async with pipeline.door(amqp_url, config()) as door:
        target = path(door)
        plain, _, query = target.partition("?")
        for other in (f"/{plain}", f"{plain}/", f"{plain}//", plain.replace("/", "//"), plain.replace("-", "%2D")):
            assert await exchange(door.app.port, request(f"{other}?{query}", way)) == 200, other
        for other in ("/" + plain[1:].replace("/", "%2F"), f"{plain}%2F", f"{plain}%", plain.upper(), f"{plain}/x"):
            assert await exchange(door.app.port, request(f"{other}?{query}", way)) == 404, other


async def test_a_charset_is_not_a_coding(amqp_url: str) -> None:
    """egg#4554, httpcomponents-client#698: `Content-Encoding: UTF-8`."""
    async with pipeline.door(amqp_url, config()) as door:
        for header in ("UTF-8", "utf8", "", "identity", "none", "8bit", "binary", "identity, utf-8"):
            assert await exchange(door.app.port, request(path(door), f"Content-Encoding: {header}\r\n")) == 200, header
        for header in ("gzip", "br", "identity, gzip", "zstd"):
            assert await exchange(door.app.port, request(path(door), f"Content-Encoding: {header}\r\n")) == 415, header


async def test_the_largest_document_that_a_platform_documents_is_taken(amqp_url: str) -> None:
    """ChannelApe: up to 5,000 fulfilments, two to three megabytes."""
    assert parse_size(Ingress().max_body) == 4 * 1024 * 1024
    order = json.loads(BODY)
    line = order["lineItems"][0]
    order["lineItems"] = [{**line, "id": f"{number:06}", "name": "n" * 300} for number in range(5000)]
    body = json.dumps(order).encode()
    assert len(body) > 2_000_000
    async with pipeline.door(amqp_url, config()) as door:
        assert await exchange(door.app.port, request(path(door), body=body)) == 200


async def test_idle_connections_are_kept_as_long_as_configured(amqp_url: str) -> None:
    """eq-survey-runner#2379, llmgateway#1539: a balancer that keeps connections longer than we do gets resets."""
    async with pipeline.door(amqp_url, config(keepalive=0.2)) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.app.port)
        writer.write(request(path(door)))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert head.startswith(b"HTTP/1.1 200")
        assert b"keep-alive" in head.lower() or b"connection: close" not in head.lower()
        # The rest of the answer, and then the end that the setting asks for, long before the default of 75 seconds.
        assert b'"id"' in await asyncio.wait_for(reader.read(), 20)
        writer.close()
    assert Ingress().keepalive == 75.0


@pytest.mark.parametrize("host", ["::", ["::1", "127.0.0.1"]])
async def test_both_families_are_served(amqp_url: str, host: str | list[str]) -> None:
    """uvicorn#2945, litellm#9563: `::` was IPv6 alone."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with pipeline.door(amqp_url, config(host=host)) as door:
        for address in ("127.0.0.1", "::1"):
            assert await exchange(door.app.port, request(path(door)), host=address) == 200


@pytest.mark.parametrize("way", WAYS)
async def test_a_sender_that_half_closes_gets_its_answer(amqp_url: str, way: str) -> None:
    """uvicorn#2924: the message was published, and its sender told nothing."""
    async with pipeline.door(amqp_url, config()) as door:
        assert await exchange(door.app.port, request(path(door), way), half_close=True) == 200


class _Headers(dict[str, str]):
    """Headers as `verify` looks them up."""


def _apicbase() -> tuple[Any, Mapping[str, str]]:
    platform = registry.platforms()["apicbase"]
    account = msgspec.convert({"secrets": ["s"]}, platform.account)
    return account, _Headers({"X-APIC-WEBHOOK-SIGNATURE": "0" * 64})


def test_a_large_body_is_not_dumped_again_before_its_sender_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check over `json.dumps` of the body takes 288 ms of a megabyte of floats, for anybody who asks."""
    account, headers = _apicbase()
    verify = registry.platforms()["apicbase"].verify

    def dumped(*args: Any, **more: Any) -> Any:
        raise AssertionError("it was read")

    class NoQuery:
        def getall(self, key: str, default: list[str], /) -> list[str]:
            return default

    monkeypatch.setattr(json, "loads", dumped)
    monkeypatch.setattr(signing, "json", json, raising=False)
    large = b"[" + b",".join([b"5e-324"] * 20_000) + b"]"
    assert len(large) > signing.MAX_DUMPED
    assert verify(large, headers, NoQuery(), account) is None


async def test_bodies_wait_for_their_confirms_within_the_bound(amqp_url: str) -> None:
    """Beyond `max_buffered` a post is 503, however few connections there are: a slow broker costs no memory."""
    settings = config(max_buffered="1MiB", confirm_timeout=2.0)
    proxy = Proxy(str(URL(amqp_url).host), int(URL(amqp_url).port or 0))
    await proxy.start()
    try:
        async with pipeline.door(str(URL(amqp_url).with_port(proxy.port)), settings) as door:
            await pipeline.until(lambda: door.app._link.is_open)
            proxy.stall()
            body = b"x" * 400_000
            waiting = [asyncio.ensure_future(exchange(door.app.port, request(path(door), body=body))) for _ in range(6)]
            done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert pending
            assert {entry.result() for entry in done} == {503}
            assert door.app._publisher.held_bytes <= 1 << 20
            assert await asyncio.gather(*waiting) == [503] * 6
            assert door.app._publisher.held_bytes == 0
    finally:
        await proxy.stop()


async def test_a_customer_is_answered_in_time_while_the_broker_confirms_nothing(amqp_url: str) -> None:
    """An order that the broker hasn't confirmed is not accepted at `verdict_timeout`, and not waited for beyond
    `confirm_timeout`."""
    account = {"secrets": ["s"], "verdict_timeout": 0.2}
    settings = pipeline.config({"accounts": {"apicbase": {"acme": account}}, "ingress": {"confirm_timeout": 1.0}})
    proxy = Proxy(str(URL(amqp_url).host), int(URL(amqp_url).port or 0))
    await proxy.start()
    try:
        async with pipeline.door(str(URL(amqp_url).with_port(proxy.port)), settings) as door:
            await pipeline.until(lambda: door.app._link.is_open)
            proxy.stall()
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert (await door.post("apicbase", "purchase_order"))[0] == 503
            assert loop.time() - began >= 0.5  # it had its time
            assert len(door.app._replies) == 0
            assert door.app._publisher.held_bytes == 0
            proxy.heal()
    finally:
        await proxy.stop()


async def test_a_shopper_is_answered_in_time_while_the_broker_confirms_nothing(amqp_url: str) -> None:
    """The answer's time-out holds whether or not the broker has confirmed: the checkout page waits for it."""
    settings = pipeline.config()
    accounts = {
        name: msgspec.structs.replace(account, answer_timeout=0.5)
        for name, account in settings.accounts["ustore"].items()
    }
    settings = msgspec.structs.replace(settings, accounts={**settings.accounts, "ustore": accounts})
    behind = URL(amqp_url)
    assert behind.host is not None
    assert behind.port is not None
    proxy = Proxy(behind.host, behind.port)
    await proxy.start()
    try:
        async with pipeline.door(str(behind.with_port(proxy.port)), settings) as door:
            await pipeline.until(lambda: door.app._link.is_open)
            proxy.stall()
            loop = asyncio.get_running_loop()
            began = loop.time()
            status, body, headers = await door.post("ustore", "manufacturer_allocation")
            waited = loop.time() - began
            assert 0.5 <= waited < settings.ingress.confirm_timeout - 1
            assert (status, set(json.loads(body))) == (503, {"message"})
            assert headers["X-Signature"]
    finally:
        await proxy.stop()
