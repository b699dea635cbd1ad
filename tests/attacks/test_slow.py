"""Clients that send or read slowly lose the connection in bounded time; others are answered meanwhile."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from ingress import connections
from ingress.api import app, context
from tests.attacks import raw
from tests.support import pipeline
from tests.support.api import api

HEAD = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\nX-Slow: "


@pytest_asyncio.fixture
async def door(amqp_url: str) -> AsyncIterator[pipeline.RunningIngress]:
    async with pipeline.door(amqp_url, pipeline.config({"ingress": raw.SOON})) as opened:
        yield opened


def refused(reason: str) -> float:
    """Return the count of refusals with this reason, from the metric."""
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        if metric.name in ("crossdock_refused", "crossdock_api_refused")
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["reason"] == reason
    )


async def test_heads_sent_byte_by_byte_time_out(door: pipeline.RunningIngress) -> None:
    before = refused("headers too slow")
    head = raw.one_by_one(HEAD % raw.hook(door.config).encode() + b"a" * 1000)
    slow = [asyncio.create_task(raw.ask(door.app.port, head, every=0.01)) for _ in range(100)]
    await pipeline.until(lambda: door.app.connections > 0)
    assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
    assert {tuple(raw.statuses(answer)) for answer in await asyncio.gather(*slow)} <= {(408,), ()}
    assert refused("headers too slow") - before == 100


async def test_bodies_sent_byte_by_byte_time_out(door: pipeline.RunningIngress) -> None:
    sent = HEAD % raw.hook(door.config).encode() + b"\r\n\r\n"
    slow = [
        asyncio.create_task(raw.ask(door.app.port, [sent, *raw.one_by_one(b" " * 1000)], every=0.01))
        for _ in range(100)
    ]
    await pipeline.until(lambda: door.app.connections > 0)
    assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
    assert {tuple(raw.statuses(answer)) for answer in await asyncio.gather(*slow)} == {(408,)}


async def test_incomplete_bodies_share_one_memory_limit(amqp_url: str) -> None:
    """Ten large bodies whose last byte does not come: those beyond the limit are refused; the memory is released."""
    settings = pipeline.config({"ingress": {"max_buffered": "1MiB", "body_timeout": 2.0}})
    sent = (
        b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 300001\r\n\r\n" % raw.hook(settings).encode() + b" " * 300_000
    )
    async with pipeline.door(amqp_url, settings) as door:
        answers = [
            raw.statuses(answer) for answer in await asyncio.gather(*(raw.ask(door.app.port, sent) for _ in range(10)))
        ]
        assert answers.count([408]) == 3
        assert answers.count([503]) == 7
        assert refused("no room for bodies") >= 7
        for _ in range(2):  # with the whole memory
            finished = sent.replace(b"Host: x", b"Host: x\r\nConnection: close") + b" "
            assert raw.statuses(await raw.ask(door.app.port, finished)) == [200]


async def test_a_second_head_has_the_time_limit_and_an_idle_connection_has_not(door: pipeline.RunningIngress) -> None:
    request = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await raw.ask(door.app.port, [request, b"\r\n", b"GET /no"], every=0.1)
    assert raw.statuses(answer) == [404, 408]
    reader, writer = await asyncio.open_connection("127.0.0.1", door.app.port)
    for _ in range(2):  # an empty line alone does not begin a head, which would have a time limit
        writer.write(request + b"\r\n")
        assert b" 404 " in await reader.readline()
        await reader.readuntil(b"}")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), raw.SOON["header_timeout"] * 2)
    writer.close()


async def unread(port: int, request: bytes) -> socket.socket:
    """Return a connection with as many requests as the socket takes, whose answers are not read."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await loop.sock_connect(client, ("127.0.0.1", port))
    try:
        async with asyncio.timeout(raw.PATIENCE):
            while True:
                await loop.sock_sendall(client, request * 1000)
    except ConnectionError:
        return client


async def test_a_connection_whose_answers_are_not_read_is_closed(door: pipeline.RunningIngress) -> None:
    before = refused("answer not taken")
    client = await unread(door.app.port, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
    await pipeline.until(lambda: door.app.connections == 0, what="the connection is cut")
    client.close()
    assert refused("answer not taken") - before == 1


async def test_the_api_limits_slow_clients_and_they_take_no_database_connection(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow bodies take no connection to the database, of which there are eight."""
    limits = connections.Limits(connections=100, header_timeout=0.4, write_timeout=0.4)
    monkeypatch.setattr(app, "CLIENTS", limits)
    monkeypatch.setattr(context, "BODY_TIMEOUT", 2.0)
    async with api(database_url) as client:
        head = b"POST /v1/subscriptions HTTP/1.1\r\nHost: x\r\nUsername: boards\r\nPassword: b0ards-password\r\n"
        sent = head + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        bodies = [asyncio.create_task(raw.ask(client.app.port, sent)) for _ in range(20)]
        heads = [asyncio.create_task(raw.ask(client.app.port, head)) for _ in range(20)]
        async with asyncio.timeout(1.5):
            assert (await client.ask("GET", "/v1/subscriptions"))[0] == 200
        assert {tuple(raw.statuses(answer)) for answer in await asyncio.gather(*heads)} == {(408,)}
        assert {tuple(raw.statuses(answer)) for answer in await asyncio.gather(*bodies)} == {(408,)}
        (await unread(client.app.port, b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")).close()
