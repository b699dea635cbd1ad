"""Webhooks out: deliveries per second from a backlog, compared with a bare client that posts to the same receiver.

Ours are read from PostgreSQL, signed, posted, and recorded with their attempts.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg

from bench import bodies
from bench.backlog import empty
from bench.common import PEERS, BenchmarkError, Servers, answers, process, rate
from bench.plan import Plan
from bench.row import Row
from deploy.local.children import free_ports
from schemas.dialects import standard
from storage import sealed
from storage.sealed import Sealed, Secret
from storage.vault import Vault

SUBSCRIPTIONS, IN_FLIGHT = 4, 16
SETTINGS = '[delivery]\nallow_networks = ["127.0.0.0/8"]\nallow_http = true\n'
PATIENCE = 120.0
"""Seconds for a backlog to be delivered."""


async def bench_deliveries(servers: Servers, plan: Plan) -> list[Row]:
    """Measure ours and the bare client, run by run, in turn."""
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}/"
    ours: list[float] = []
    theirs: list[float] = []
    key = Vault.generate()
    failed = None
    count = plan.deliveries
    peer = (str(PEERS / "bare_client.py"), url, str(count), str(SUBSCRIPTIONS * IN_FLIGHT))
    database = await asyncpg.connect(servers.database)
    async with process(servers, str(PEERS / "receiver.py"), str(port)):
        await answers(url, 200)
        async with backlog_of(servers, database, key, url) as backlog:
            for _ in range(plan.runs):
                await backlog.fill(count)
                ours.append(await _ours(servers, database, key, count))
                try:
                    theirs.append(await rate(servers, *peer, body=b"x" * backlog.size))
                except BenchmarkError as why:
                    failed = str(why)
                    break
    await database.close()
    what = "deliveries/s, one worker, from a backlog"
    return [Row(what, "bare aiohttp client", ours, theirs, 0.6, failed=failed)]


class Backlog:
    """Deliveries of one stored event that are due to a few subscriptions."""

    def __init__(self, database: asyncpg.Connection, subscriptions: list[UUID], size: int) -> None:
        self._database = database
        self._subscriptions = subscriptions
        self.size = size
        """Approximate bytes of each post."""

    async def fill(self, count: int) -> None:
        """Make `count` deliveries due now."""
        await _fill(self._database, self._subscriptions, count)

    async def gone(self) -> bool:
        """Return whether no delivery is due any more."""
        return not await self._database.fetchval("SELECT EXISTS (SELECT FROM crossdock.outbox)")


@asynccontextmanager
async def backlog_of(servers: Servers, database: asyncpg.Connection, key: str, url: str) -> AsyncIterator[Backlog]:
    """Create some subscriptions to `url`, and an event; nothing is due yet."""
    await empty(database)
    async with subscribed(database, key, [f"{url}{number}" for number in range(SUBSCRIPTIONS)]) as subscriptions:
        yield Backlog(database, subscriptions, await _event(servers, database))


@asynccontextmanager
async def subscribed(database: asyncpg.Connection, key: str, urls: Sequence[str]) -> AsyncIterator[list[UUID]]:
    """Create a subscription to everything per URL, and delete them at the end."""
    vault = Vault.from_text(key)
    subscriptions = [await _subscribe(database, vault, url) for url in urls]
    try:
        yield subscriptions
    finally:
        await database.execute("TRUNCATE crossdock.outbox")
        await database.execute("DELETE FROM crossdock.subscribed WHERE id = ANY ($1)", subscriptions)


async def _subscribe(database: asyncpg.Connection, vault: Vault, url: str) -> UUID:
    id_ = uuid4()
    secrets = Sealed(secrets=(Secret(secret=standard.make_secret()),))
    await database.execute(
        "INSERT INTO crossdock.subscribed (id, subscriber, url, types, accounts, dialect, max_in_flight, sealed) "
        "VALUES ($1, '', $2, '{*}', '{*}', 'standard', $3, $4)",
        id_,
        url,
        IN_FLIGHT,
        sealed.seal(vault, id_, secrets),
    )
    return id_


async def _event(servers: Servers, database: asyncpg.Connection) -> int:
    """Store an order, and return the approximate bytes of its CloudEvent."""
    raw = bodies.webhook(servers.folder).raw
    await database.execute(
        """
        WITH d AS (
            INSERT INTO crossdock.documents (platform, account, type, key, received_at, last_received_at, version_id,
                version, times_received, digest)
            VALUES ('channelape', 'rothys', 'channelape.stock_transfer_order', 'bench', now(), now(),
                gen_random_uuid(), 1, 1, '')
            RETURNING id, received_at
        )
        INSERT INTO crossdock.receipts (received_at, message_id, document_id, digest, event, flags, raw)
        SELECT received_at, gen_random_uuid(), id, '', 'stock_transfer_order', '{}', $1 FROM d
        """,
        raw,
    )
    return len(raw) + 400


async def _fill(database: asyncpg.Connection, subscriptions: list[UUID], count: int) -> None:
    await database.execute("TRUNCATE crossdock.outbox")
    await database.execute(
        """
        INSERT INTO crossdock.outbox (id, subscription_id, next_attempt_at, received_at, event_id, message_id,
            document_id, version, type, key)
        SELECT gen_random_uuid(), ($1::uuid[])[n % $2 + 1], now(), r.received_at, gen_random_uuid(), r.message_id,
            d.id, 1, d.type, d.key
        FROM generate_series(1, $3) n, crossdock.documents d JOIN crossdock.receipts r ON r.document_id = d.id
        WHERE d.key = 'bench'
        """,
        subscriptions,
        len(subscriptions),
        count,
    )
    await database.execute("ANALYZE crossdock.outbox")


def deliver_worker(servers: Servers) -> tuple[str, ...]:
    """Return the command of our deliver worker, which may post to this machine."""
    config = servers.folder / "deliveries.toml"
    config.write_text(SETTINGS)
    return ("worker", "deliver", "--config", str(config), "--admin-port", str(free_ports(1)[0]))


async def _ours(servers: Servers, database: asyncpg.Connection, key: str, count: int) -> float:
    """Return the deliveries per second, from the first one that is recorded to the last."""
    command = ("-m", "deploy.cli.main", *deliver_worker(servers))
    async with process(servers, *command, env={"CROSSDOCK_ENCRYPTION_KEY": key}) as child:
        first: tuple[float, int] | None = None
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and child.poll() is None:
            left = await database.fetchval("SELECT count(*) FROM crossdock.outbox")
            if left < count and first is None:
                first = (time.perf_counter(), left)
            if not left and first is not None:
                return first[1] / (time.perf_counter() - first[0])
            await asyncio.sleep(0.1)  # looking costs the database time
        raise BenchmarkError(f"{count} deliveries were not made in {PATIENCE:.0f} s")
