"""The upgrade of a database that an earlier commit has filled, while webhooks come in at a steady rate.

The order is that of the README: `crossdock migrate` while the earlier workers run, new workers, `crossdock migrate
--post`, which completes what is stored. The ingress stays the earlier one, because it does not use the database.
"""

import asyncio
import time
from contextlib import AsyncExitStack

import asyncpg
import msgspec

from bench import backlog, bodies, latency, load, previous
from bench.client import Order
from bench.common import BenchmarkError, Servers, channel, process, purge, until, waiting
from bench.ingress import start_ingress
from bench.plan import Plan
from bench.row import Row, Times
from schemas.topology import STORE

RATE = 500.0
"""Posts per second while the database is upgraded."""
CHUNK = 100_000
"""Messages that are published at a time while the database is filled."""
MOST_DELAY = 2.0
"""The p99 from arrival to commit during the upgrade is at most so many times that before it."""
PATIENCE = 300.0
"""Seconds for storing one chunk."""


class _Posting:
    """Posts webhooks at RATE, in turns of `seconds`, until it is stopped."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._is_done = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self.accepted = 0

    async def _run(self) -> None:
        while not self._is_done.is_set():
            posted = await asyncio.to_thread(load.post, self._order)
            if posted.failed:
                raise BenchmarkError(f"{posted.failed} requests failed")
            self.accepted += posted.done

    async def stop(self) -> None:
        """Return when everything that was posted is answered. Raises BenchmarkError if something was refused."""
        self._is_done.set()
        await self._task


async def bench_upgrade(servers: Servers, plan: Plan) -> list[Row]:
    """Measure each phase, and compare what is stored at the end with what was accepted. Raises BenchmarkError."""
    admin = await asyncpg.connect(servers.database)
    old = await previous.side(servers, admin, previous.DATABASE, previous.checkout(servers.folder))
    new = msgspec.structs.replace(old, root=servers.root)
    database = await asyncpg.connect(old.database)
    phases: dict[str, Times] = {}
    async with AsyncExitStack() as stack:
        port = await start_ingress(stack, old)
        hook = bodies.marked(bodies.webhook(servers.folder))
        url = f"http://127.0.0.1:{port}{hook.path}"
        order = Order(url, hook.headers, hook.raw.decode(), latency.CONNECTIONS, plan.paced, rate=RATE)
        async with process(old, *backlog.store_worker()):
            await _fill(old, plan.stored)
            filled = await database.fetchval("SELECT count(*) FROM crossdock.receipts", timeout=600)
            await database.execute("VACUUM ANALYZE", timeout=600)
            posting = _Posting(order)
            await asyncio.sleep(latency.SETTLE)
            since = time.time()
            await asyncio.sleep(2 * plan.paced)
            phases["before"] = await latency.arrival_to_commit(database, since)
            since = time.time()
            await _migrate(new)
            phases["migrate"] = await latency.arrival_to_commit(database, since)
        async with process(new, *backlog.store_worker()):
            await asyncio.sleep(plan.paced)  # the new worker has begun to store
            since = time.time()
            await _migrate(new, "--post")
            phases["migrate --post"] = await latency.arrival_to_commit(database, since)
            took = time.time() - since
            await posting.stop()
            await _until_stored(new)
            stored = await database.fetchval("SELECT count(*) FROM crossdock.receipts", timeout=600) - filled
    await database.close()
    await admin.execute(f"DROP DATABASE {previous.DATABASE} WITH (FORCE)")
    await admin.close()
    what = f"upgrade of {plan.stored:,} events at {RATE:,.0f}/s"
    return [
        Row(
            f"{what}, arrival to commit during `{name}`: p99 ms",
            "before it",
            [phases[name].p99],
            [phases["before"].p99],
            MOST_DELAY,
            less=True,
            digits=1,
            note=f"{took:.0f} s" if "post" in name else None,
        )
        for name in ("migrate", "migrate --post")
    ] + [Row(f"{what}: stored since its beginning", "accepted", [stored], [posting.accepted], 1.0)]


async def _fill(side: Servers, messages: int) -> None:
    """Have the earlier worker store so many examples."""
    await purge(side.amqp)
    for _ in range(0, messages, CHUNK):
        await previous.publish(side, min(CHUNK, messages))
        await _until_stored(side)


async def _until_stored(side: Servers) -> None:
    async with channel(side.amqp) as opened:

        async def is_empty() -> bool:
            return not await waiting(opened, STORE)

        await until(is_empty, "everything stored", seconds=PATIENCE)
    await asyncio.sleep(2 * latency.SETTLE)  # what was taken from the queue is committed


async def _migrate(side: Servers, *options: str) -> None:
    """Run `crossdock migrate`. Raises BenchmarkError if it fails."""
    async with process(side, "-m", "deploy.cli.main", "migrate", *options) as child:
        if await asyncio.to_thread(child.wait):
            raise BenchmarkError(f"crossdock migrate {' '.join(options)} failed")
