"""Four inbound queues, two ingress processes on one port, two store workers: all is stored once."""

import asyncio
import collections
import json
import signal
import sys
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import aiormq
import asyncpg
import pytest

from broker import topology
from deploy.local.children import end, free_ports, spawn
from ingress.hooks import app
from schemas import registry
from schemas import topology as names
from tests.support import pipeline
from tests.support.pipeline import until
from tests.support.shell import Shell

SHARDS = 4
QUEUES = [names.store_queue(shard) for shard in range(SHARDS)]


def sharded(shards: int = SHARDS, **ingress: int) -> dict[str, dict[str, int]]:
    return {"store": {"shards": shards}, "ingress": dict(ingress)}


async def depths(amqp_url: str) -> list[int]:
    depths = await topology.depths(amqp_url)
    return [depths[queue][0] for queue in QUEUES if queue in depths]


async def test_messages_spread_evenly_and_are_stored_once(
    shell: Shell, amqp_url: str, database_url: str, database: asyncpg.Connection, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    file = tmp_path / "crossdock.toml"
    file.write_text(f"[store]\nshards = {SHARDS}\n[ingress]\nport = {port}\nprocesses = 2\n")
    settings = pipeline.load(file)
    assert (await shell("topology", "apply", "--prune", "--config", str(file))).code == 0
    assert (await shell("topology", "check", "--config", str(file))).code == 0
    platform = registry.platforms()["channelape"]
    assert platform.with_new_key is not None
    raw = registry.example("channelape", "receipt_confirmation")
    account = next(iter(settings.accounts["channelape"]))
    # A third come twice.
    bodies = [platform.with_new_key("receipt_confirmation", raw, f"{n % 400:032x}") for n in range(600)]
    command = [sys.executable, "-m", "deploy.cli.main", "ingress", "--config", str(file)]
    ingress = spawn(command, env=shell.env, log=tmp_path / "ingress.log")
    accepted: list[UUID] = []
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64, force_close=True)) as session:
            url = f"http://127.0.0.1:{port}/hooks/channelape/{account}/receipt-confirmations"

            async def post(body: bytes) -> int:
                signed = platform.sign(body, settings.accounts["channelape"][account])
                try:
                    async with session.post(url, data=body, params=signed.query, headers=signed.headers) as answer:
                        if answer.status == 200:
                            accepted.append(UUID((await answer.json())["id"]))
                        return answer.status
                except aiohttp.ClientConnectionError:
                    return 0

            async def listens() -> bool:
                return await post(bodies[0]) == 200

            await until(listens, what="the ingress")
            assert set(await asyncio.gather(*map(post, bodies[1:]))) == {200}

        waiting = await until(lambda: _all_there(amqp_url, len(bodies)), what="every message in a shard")
        assert sum(waiting) == len(bodies)
        assert min(waiting) > len(bodies) / SHARDS / 2, waiting
        workers = [pipeline.store(amqp_url, database_url, settings) for _ in range(2)]
        async with pipeline.running(*workers):
            await until(lambda: database.fetchval("SELECT count(*) = 600 FROM crossdock.receipts"), what="600 posts")
    finally:
        await end(ingress, signal.SIGTERM, 10)
    assert await database.fetchval("SELECT count(*) FROM crossdock.events") == 400
    assert await database.fetchval("SELECT sum(times_received) FROM crossdock.events") == 600
    assert {row[0] for row in await database.fetch("SELECT message_id FROM crossdock.receipts")} == set(accepted)
    assert await depths(amqp_url) == [0] * SHARDS


async def _all_there(amqp_url: str, count: int) -> list[int] | None:
    by_queue = await depths(amqp_url)
    return by_queue if sum(by_queue) == count else None


async def test_a_header_that_chooses_the_shard_reaches_no_consumer(amqp_url: str) -> None:
    await topology.apply(amqp_url, expected := names.topology(shards=2))
    await topology.prune(amqp_url, expected)
    connection = await aiormq.connect(amqp_url)
    channel = await connection.channel()
    seen = await channel.queue_declare(exclusive=True)
    assert seen.queue is not None
    await channel.queue_bind(seen.queue, names.INBOUND, "channelape.#")
    async with pipeline.door(amqp_url, pipeline.config(sharded(2))) as door:
        status, answer, _ = await door.post("channelape", "receipt_confirmation")
    assert status == 200
    message = await channel.basic_get(seen.queue, no_ack=True)
    properties = message.header.properties
    assert properties.message_id == json.loads(answer)["id"]
    assert set(properties.headers or {}) == {"platform", "account", "event", "received-at", "traceparent"}
    assert sum(await depths(amqp_url)) == 1
    await connection.close()


async def test_fewer_shards_lose_nothing(
    amqp_url: str, database_url: str, database: asyncpg.Connection, shell: Shell, tmp_path: Path
) -> None:
    """An ingress with the new number before anyone applied the topology; then what lies in the surplus queues."""
    await topology.apply(amqp_url, many := names.topology(shards=SHARDS))
    await topology.prune(amqp_url, many)
    async with pipeline.door(amqp_url, pipeline.config(sharded())) as door:
        for _ in range(40):
            assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
    async with pipeline.door(amqp_url) as door:  # one shard, which nobody has bound yet
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
    depths = await topology.depths(amqp_url)
    assert sum(depths[queue][0] for queue in QUEUES) == 41
    assert depths["crossdock.unrouted"] == (0, 0)

    result = await shell("topology", "apply", "--prune")
    assert "crossdock.store.1 still holds" in result.out
    assert "crossdock worker store --shard 1`" in result.out
    leftover = pipeline.store(amqp_url, database_url, shards=range(SHARDS))
    async with pipeline.running(leftover):
        await until(lambda: database.fetchval("SELECT sum(times_received) = 41 FROM crossdock.events"))
    assert "still holds" not in (await shell("topology", "apply", "--prune")).out


async def test_without_its_queues_an_ingress_is_not_ready_and_says_what_to_do(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "FIRST_CONNECTION_TIMEOUT", 0.2)
    async with pipeline.door(amqp_url, pipeline.config(sharded())) as door:
        await until(lambda: "crossdock topology apply" in " ".join(door.app.problems()))
        assert len(door.app.problems()) == 1
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 503


def test_ids_share_the_shards_evenly() -> None:
    counted = collections.Counter(names.shard_key(str(uuid4()), 3) for _ in range(3000))
    assert len(counted) == 3
    assert min(counted.values()) > 800


@pytest.mark.parametrize("shards", [0, 65])
def test_numbers_of_shards_that_make_no_sense_are_refused(shards: int) -> None:
    with pytest.raises(Exception, match=r"store\.shards"):
        pipeline.config(sharded(shards))
