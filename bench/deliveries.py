"""Webhooks out: deliveries a second from a backlog, beside a bare client that posts as much to the same receiver.

Ours are read from PostgreSQL, signed, posted, and written down with their attempts.
"""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import msgspec

from deploy.local.children import end, free_ports, spawn
from schemas import registry
from schemas.dialects import standard
from storage import sealed
from storage.sealed import Sealed, Secret
from storage.vault import Vault

PEERS = Path(__file__).parent / "peers"
SUBSCRIPTIONS, IN_FLIGHT = 4, 16
SETTINGS = '[delivery]\nallow_networks = ["127.0.0.0/8"]\nallow_http = true\n'


async def measure(
    database: asyncpg.Connection, env: dict[str, str], folder: Path, *, runs: int, count: int
) -> tuple[list[float], list[float]]:
    """Rates of ours and of the bare client, run by run, in turn."""
    port = free_ports(1)[0]
    log = folder / "deliveries.log"
    receiver = spawn([sys.executable, str(PEERS / "receiver.py"), str(port)], env=env, log=log)
    url = f"http://127.0.0.1:{port}/"
    ours: list[float] = []
    theirs: list[float] = []
    key = Vault.generate()
    config = folder / "deliveries.toml"
    config.write_text(SETTINGS)
    try:
        await _wait(url)
        subscriptions = [await _subscribe(database, Vault.from_text(key), f"{url}{n}") for n in range(SUBSCRIPTIONS)]
        size = await _event(database)
        for _ in range(runs):
            await _fill(database, subscriptions, count)
            ours.append(await _ours(database, {**env, "CROSSDOCK_ENCRYPTION_KEY": key}, config, log, count))
            command = [sys.executable, str(PEERS / "bare_client.py"), url, str(count), str(SUBSCRIPTIONS * IN_FLIGHT)]
            done = await asyncio.to_thread(
                subprocess.run, command, input=b"x" * size, stdout=subprocess.PIPE, check=True, env=env
            )
            theirs.append(float(done.stdout))
    finally:
        await end(receiver, 15, 5)
    return ours, theirs


async def _wait(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(200):
            try:
                async with session.get(url):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
    raise TimeoutError("the receiver did not start")


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


async def _event(database: asyncpg.Connection) -> int:
    """One stored receipt confirmation; about the bytes of its CloudEvent."""
    raw = msgspec.json.format(registry.example("channelape", "receipt_confirmation"), indent=-1)
    await database.execute(
        """
        WITH d AS (
            INSERT INTO crossdock.documents (platform, account, type, key, received_at, last_received_at, version_id,
                version, times_received, digest)
            VALUES ('channelape', 'rothys', 'channelape.receipt_confirmation', 'bench', now(), now(),
                gen_random_uuid(), 1, 1, '')
            RETURNING id, received_at
        )
        INSERT INTO crossdock.receipts (received_at, message_id, document_id, digest, event, flags, raw)
        SELECT received_at, gen_random_uuid(), id, '', 'receipt_confirmation', '{}', $1 FROM d
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


async def _ours(database: asyncpg.Connection, env: dict[str, str], config: Path, log: Path, count: int) -> float:
    """From the first delivery that is written down to the last."""
    env = {**env, "CROSSDOCK_CONFIG": str(config)}
    admin = str(free_ports(1)[0])
    child = spawn(
        [sys.executable, "-m", "deploy.cli.main", "worker", "deliver", "--admin-port", admin], env=env, log=log
    )
    try:
        first: tuple[float, int] | None = None
        until = time.monotonic() + 120
        while time.monotonic() < until and child.poll() is None:
            left = await database.fetchval("SELECT count(*) FROM crossdock.outbox")
            if left < count and first is None:
                first = (time.perf_counter(), left)
            if not left and first is not None:
                return first[1] / (time.perf_counter() - first[0])
            await asyncio.sleep(0.1)  # looking costs the database time
        raise RuntimeError(f"{count} deliveries were not made; see {log}")
    finally:
        await end(child, 15, 15)


if __name__ == "__main__":
    from bench.common import servers

    async def main() -> None:
        async with servers() as found:
            database = await asyncpg.connect(found.database)
            ours, theirs = await measure(
                database, {**os.environ, **found.env}, found.folder, runs=3, count=int(sys.argv[1])
            )
            await database.close()
        print(f"ours {ours}\ntheirs {theirs}\nratio {sorted(ours)[1] / sorted(theirs)[1]:.2f}")

    asyncio.run(main())
