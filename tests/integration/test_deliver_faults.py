"""Webhooks out when something breaks: a worker is killed, subscribers misbehave, many are finished."""

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
from aiohttp import web

from deploy.local.children import end, free_ports, spawn
from storage.sql import query
from tests.support import wire
from tests.support.delivering import receipt, store, worker
from tests.support.pipeline import running, until
from tests.support.receiver import config, receiver, statuses, subscribe
from workers.deliver import breaker

ROOT = Path(__file__).parents[2]
MAIN = "from deploy.cli.main import main; main()"
LEASE = 5.0
"""Seconds instead of 15, so that the second worker has less to wait for."""
SICK = ("hangs", "500", "429")
IN_FLIGHT = 10
SETTINGS = """
[delivery]
allow_networks = ["127.0.0.0/8"]
allow_http = true
[subscribers.demo]
username = "demo"
password = "demo"
accounts = ["*/*"]
"""


def process(database_url: str, key: str, folder: Path) -> Any:
    """A deliver worker in a process of its own."""
    file = folder / "crossdock.toml"
    file.write_text(SETTINGS)
    env = {
        **os.environ,
        "DATABASE_URL": database_url,
        "CROSSDOCK_ENCRYPTION_KEY": key,
        "CROSSDOCK_CONFIG": str(file),
        "PYTHONPATH": str(ROOT),
    }
    code = f"from workers.deliver import leases; leases.LEASE, leases.RENEW = {LEASE}, {LEASE / 3}; {MAIN}"
    command = [sys.executable, "-c", code, "worker", "deliver", "--admin-port", str(free_ports(1)[0])]
    return spawn(command, env=env, log=folder / "deliver.log")


async def test_a_worker_killed_amid_5000_deliveries_loses_none(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """Each arrives at least once, repeats carry the same id, none waits longer than the lease."""
    from storage.vault import Vault
    from tests.support import receiver as receivers

    key = Vault.generate()
    monkeypatch.setattr(receivers, "VAULT", Vault.from_text(key))
    async with receiver() as subscriber:
        for n in range(5):
            await subscribe(pool, f"{subscriber.url}/{n}", max_in_flight=20)
        for start in range(0, 1000, 250):
            await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(start, start + 250)))
        assert await statuses(pool) == {"pending": 5000}
        first = process(database_url, key, tmp_path)
        await until(lambda: len(subscriber.got) > 1500, seconds=40)
        first.kill()
        first.wait()
        second = process(database_url, key, tmp_path)
        try:
            await until(lambda: _delivered(pool, 5000), seconds=LEASE + 30)
        finally:
            await end(second, 15, 10)
    seen = Counter((got.path, got.headers["webhook-id"]) for got in subscriber.got)
    assert len(seen) == 5000
    ids = {str(row["event_id"]) for row in await pool.fetch("SELECT event_id FROM crossdock.deliveries")}
    assert {name for _, name in seen} == ids
    assert max(seen.values()) <= 2
    assert sum(seen.values()) - 5000 <= 5 * 20 + 5 * 100  # what was under way, and what was not written down yet


async def _delivered(pool: asyncpg.Pool, count: int) -> bool:
    return await statuses(pool) == {"delivered": count}


class Cost(NamedTuple):
    """What it took until sixteen healthy subscribers had a hundred events each."""

    turns: int
    """Round trips to the database."""
    sick: Counter[str]
    """Requests to each of the subscribers that misbehave."""


async def _sixteen(pool: asyncpg.Pool, database_url: str, *, bad: bool) -> Cost:
    """Deliver to sixteen healthy subscribers, alone or beside four that misbehave; the one that hangs does so until
    all others are served."""
    release = asyncio.Event()

    async def answer(got: Any) -> web.Response:
        if got.path == "/sick/hangs":
            await release.wait()
        if got.path == "/sick/500":
            return web.Response(status=500)
        if got.path == "/sick/429":
            return web.Response(status=429, headers={"Retry-After": "3600"})
        return web.Response()

    async with receiver() as subscriber, wire.counted(database_url) as server:
        subscriber.answer = answer
        for n in range(16):
            await subscribe(pool, f"{subscriber.url}/{n}")
        if bad:
            for url in (*(f"{subscriber.url}/sick/{how}" for how in SICK), "http://127.0.0.1:1/refuses"):
                await subscribe(pool, url, max_in_flight=IN_FLIGHT)
        await store(pool, *(receipt(f"{subscriber.url}/{n}", seconds=n) for n in range(100)))
        async with running(worker(server.url, config(timeout=100.0))):
            await until(lambda: sum(not got.path.startswith("/sick/") for got in subscriber.got) == 1600)
            cost = Cost(
                server.round_trips, Counter(got.path for got in subscriber.got if got.path.startswith("/sick/"))
            )
            release.set()
    await pool.execute("TRUNCATE crossdock.outbox, crossdock.subscribed")
    return cost


async def test_four_failing_subscribers_hardly_delay_sixteen_healthy_ones(
    pool: asyncpg.Pool, database_url: str
) -> None:
    """The healthy ones get everything while one hangs, and the sick get no more attempts than their breakers allow."""
    alone = await _sixteen(pool, database_url, bad=False)
    beside = await _sixteen(pool, database_url, bad=True)
    assert beside.turns <= alone.turns + 150, "about 200 for 1600 deliveries, and those for the sick ones"
    assert all(count <= IN_FLIGHT + breaker.THRESHOLD for count in beside.sick.values()), beside.sick
    assert len(beside.sick) == len(SICK)


LEASING = "gen_random_uuid(), 15::float8, 100::bigint, ARRAY[]::text[], ARRAY[]::int[], ARRAY[]::uuid[]"
LEASING_TYPES = "uuid, float8, bigint, text[], int[], uuid[]"
FINISHED = """
INSERT INTO crossdock.finished (id, subscription_id, finished_at, created_at, received_at, event_id, message_id,
    document_id, version, attempts, type, key, status)
SELECT lpad(to_hex(n), 32, '0')::uuid, md5((n / 20000)::text)::uuid, now(), now(), now(), gen_random_uuid(),
    gen_random_uuid(), n, 1, 1, 'channelape.receipt_confirmation', n::text, 'delivered'
FROM generate_series(1, 100000) n
"""
"""In the order of every index, which is several times as fast as a random one."""


async def test_due_deliveries_are_found_by_index(pool: asyncpg.Pool) -> None:
    """Of 100,000 finished deliveries and 20,000 that wait, only a few blocks are read, whichever table they are in."""
    async with pool.acquire() as connection:
        await connection.execute(FINISHED)
        await connection.execute(
            """
            INSERT INTO crossdock.outbox (id, subscription_id, next_attempt_at, received_at, event_id, message_id,
                document_id, version, type, key)
            SELECT gen_random_uuid(), md5((n % 50)::text)::uuid, now() + (n % 100 - 50) * interval '1 minute', now(),
                gen_random_uuid(), gen_random_uuid(), n, 1, 'channelape.receipt_confirmation', n::text
            FROM generate_series(1, 20000) n
            """
        )
        await connection.execute(
            """
            INSERT INTO crossdock.subscribed (id, subscriber, url, types, accounts, dialect, max_in_flight, sealed,
                leased_by, leased_until)
            SELECT md5(n::text)::uuid, 'demo', 'https://a.example/', '{*}', '{*}', 'standard', 10, '',
                md5('worker')::uuid, now() + interval '1 hour'
            FROM generate_series(0, 49) n
            """
        )
        await connection.execute("ANALYZE crossdock.outbox, crossdock.finished, crossdock.subscribed")
        plans = []
        for sql, arguments in (
            (
                query("outbox", "due"),
                "ARRAY[md5('1')::uuid, md5('2')::uuid], ARRAY[64, 64], ARRAY[]::uuid[], md5('worker')::uuid",
            ),
            (query("outbox", "lease"), LEASING),
        ):
            types = "uuid[], int[], uuid[], uuid" if "ARRAY[64" in arguments else LEASING_TYPES
            await connection.execute(f"PREPARE one ({types}) AS {sql}")
            rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE one ({arguments})")
            await connection.execute("DEALLOCATE one")
            plans.append(json.loads(rows[0][0])[0])
    for plan in plans:
        nodes = list(_nodes(plan["Plan"]))
        assert not [node for node in nodes if node["Node Type"] == "Seq Scan" and node["Relation Name"] != "subscribed"]
        assert not [node for node in nodes if str(node.get("Relation Name", "")).startswith("finished")]
        assert [node for node in nodes if node.get("Index Name") == "outbox_due"]
        blocks = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        assert blocks < 200, "128 rows that are due, of a table of 445 blocks"


def _nodes(plan: dict[str, Any]) -> Any:
    yield plan
    for inner in plan.get("Plans", []):
        yield from _nodes(inner)
