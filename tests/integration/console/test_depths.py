"""Reading the depths of queues over a connection that is kept, and lost, and never answers."""

import asyncio

import pytest

from broker import depth_reader, topology
from broker.depth_reader import DepthReader, UnknownDepthsError


async def test_depths_are_those_of_status_and_a_lost_connection_is_opened_again(amqp_url: str) -> None:
    await topology.apply(amqp_url)
    reader = DepthReader(amqp_url)
    try:
        depths = await reader.read(["crossdock.consumer.nobody"], shards=1)
        assert depths == await topology.depths(amqp_url, shards=1)
        connection = reader._connection
        assert connection is not None
        await reader.read([], shards=1)
        assert reader._connection is connection, "it is kept"
        await connection.close()
        assert await reader.read([], shards=1) == depths
        assert reader._connection is not connection
    finally:
        await reader.close()


async def test_a_queue_that_does_not_exist_is_not_queried_again(amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await topology.apply(amqp_url)
    queried: list[tuple[str, ...]] = []
    over = topology.depths_over

    async def recorded(connection: object, more: tuple[str, ...], *, shards: int) -> object:
        queried.append(tuple(more))
        return await over(connection, more, shards=shards)  # type: ignore[arg-type]

    monkeypatch.setattr(topology, "depths_over", recorded)
    reader = DepthReader(amqp_url)
    for _ in range(2):
        await reader.read(["crossdock.consumer.nobody"], shards=1)
    await reader.close()
    assert queried == [("crossdock.consumer.nobody",), ()]


async def test_a_broker_that_accepts_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth_reader, "TIMEOUT", 0.2)
    silent: set[asyncio.StreamWriter] = set()
    server = await asyncio.start_server(lambda _, writer: silent.add(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader = DepthReader(f"amqp://user:hush@127.0.0.1:{port}/")
    async with asyncio.timeout(5):
        with pytest.raises(UnknownDepthsError, match="does not answer"):
            await reader.read([], shards=1)
        await reader.close()
    for writer in silent:
        writer.close()
    server.close()
