"""Webhooks out when something breaks: a worker that is killed, subscribers that misbehave, a million that are done."""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from deploy.local.children import end, free_ports, spawn
from storage.sql import query
from tests.support.delivering import receipt, store, worker
from tests.support.pipeline import running, until
from tests.support.receiver import config, receiver, statuses, subscribe
from workers.deliver.leases import LEASE

ROOT = Path(__file__).parents[2]
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
    command = [sys.executable, "-m", "deploy.cli.main", "worker", "deliver", "--admin-port", str(free_ports(1)[0])]
    return spawn(command, env=env, log=folder / "deliver.log")


async def test_killed_in_the_middle_of_5000_deliveries(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """Each arrives at least once, repeats carry the same id, none waits longer than the lease."""
    from storage.vault import Vault
    from tests.support import receiver as receivers

    key = Vault.generate()
    monkeypatch.setattr(receivers, "VAULT", Vault.from_text(key))
    async with receiver() as there:
        for n in range(5):
            await subscribe(pool, f"{there.url}/{n}", max_in_flight=20)
        for start in range(0, 1000, 250):
            await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(start, start + 250)))
        assert await statuses(pool) == {"pending": 5000}
        first = process(database_url, key, tmp_path)
        await until(lambda: len(there.got) > 1500, seconds=40)
        first.kill()
        first.wait()
        killed = time.monotonic()
        second = process(database_url, key, tmp_path)
        try:
            await until(lambda: _delivered(pool, 5000), seconds=60)
        finally:
            await end(second, 15, 10)
        assert time.monotonic() - killed < LEASE + 30
    seen = Counter((got.path, got.headers["webhook-id"]) for got in there.got)
    assert len(seen) == 5000
    ids = {str(row["event_id"]) for row in await pool.fetch("SELECT event_id FROM crossdock.deliveries")}
    assert {name for _, name in seen} == ids
    assert max(seen.values()) <= 2
    assert sum(seen.values()) - 5000 <= 5 * 20 + 5 * 100  # what was under way, and what was not written down yet


async def _delivered(pool: asyncpg.Pool, count: int) -> bool:
    return await statuses(pool) == {"delivered": count}


async def _sixteen(pool: asyncpg.Pool, database_url: str, bad: bool) -> float:
    """Seconds until sixteen healthy subscriptions have 100 events each, alone or beside four sick ones."""
    release = asyncio.Event()

    async def answer(got: Any) -> web.Response:
        if got.path == "/sick/hangs":
            await release.wait()
        if got.path == "/sick/500":
            return web.Response(status=500)
        if got.path == "/sick/429":
            return web.Response(status=429, headers={"Retry-After": "3600"})
        return web.Response()

    async with receiver() as there:
        there.answer = answer
        for n in range(16):
            await subscribe(pool, f"{there.url}/{n}")
        if bad:
            for url in (
                f"{there.url}/sick/hangs",
                f"{there.url}/sick/500",
                f"{there.url}/sick/429",
                "http://127.0.0.1:1/refuses",
            ):
                await subscribe(pool, url)
        await store(pool, *(receipt(f"{there.url}/{n}", seconds=n) for n in range(100)))
        started = time.monotonic()
        async with running(worker(database_url, config(timeout=20.0))):
            await until(lambda: sum(len(got.path) <= 3 for got in there.got) == 1600)
            taken = time.monotonic() - started
            release.set()
    await pool.execute("TRUNCATE crossdock.outbox, crossdock.subscribed")
    return taken


async def test_sixteen_of_twenty_take_the_time_they_take_alone(pool: asyncpg.Pool, database_url: str) -> None:
    """Alone, beside the sick, and again: within what two runs alone differ by, and a little."""
    alone, beside = [], []
    for _ in range(3):
        alone.append(await _sixteen(pool, database_url, bad=False))
        beside.append(await _sixteen(pool, database_url, bad=True))
    assert min(beside) <= min(alone) * 1.25 + 0.2, (alone, beside)


LEASING = "gen_random_uuid(), 15::float8, 100::bigint, ARRAY[]::text[], ARRAY[]::int[], ARRAY[]::uuid[]"
LEASING_TYPES = "uuid, float8, bigint, text[], int[], uuid[]"
FINISHED = """
INSERT INTO crossdock.finished (id, subscription_id, finished_at, created_at, received_at, event_id, message_id,
    document_id, version, attempts, type, key, status)
SELECT lpad(to_hex(n), 32, '0')::uuid, md5((n / 20000)::text)::uuid, now(), now(), now(), gen_random_uuid(),
    gen_random_uuid(), n, 1, 1, 'channelape.receipt_confirmation', n::text, 'delivered'
FROM generate_series($1::int, $1::int + 99999) n
"""
"""In the order of every index: a million in random order would take half a minute."""


@pytest.mark.timeout(300)
async def test_what_is_due_is_found_by_index_whatever_is_done(pool: asyncpg.Pool) -> None:
    """A million finished deliveries, and 20,000 that wait: no table is read from end to end."""
    async with pool.acquire() as connection:
        for start in range(0, 1_000_000, 100_000):  # the server ends a statement that takes a minute
            await connection.execute(FINISHED, start)
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
            rows = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE one ({arguments})")
            await connection.execute("DEALLOCATE one")
            plans.append(json.loads(rows[0][0])[0])
    for plan in plans:
        nodes = list(_nodes(plan["Plan"]))
        assert not [node for node in nodes if node["Node Type"] == "Seq Scan" and node["Relation Name"] != "subscribed"]
        assert not [node for node in nodes if str(node.get("Relation Name", "")).startswith("finished")]
        assert [node for node in nodes if node.get("Index Name") == "outbox_due"]
        assert plan["Execution Time"] < 50


def _nodes(plan: dict[str, Any]) -> Any:
    yield plan
    for inner in plan.get("Plans", []):
        yield from _nodes(inner)
