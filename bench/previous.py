"""The store worker's rate and what events take on disk, beside an earlier commit of this repository."""

import asyncio
import itertools
import subprocess
from pathlib import Path
from uuid import uuid4

import asyncpg
import msgspec

from bench import backlog
from bench.common import BenchmarkError, Servers, process, purge
from bench.plan import Plan
from bench.row import Row
from schemas import registry
from schemas.envelope import Stamp
from schemas.topology import STORE

COMMIT = "9a0120f"
"""The commit before bodies were stored once."""
DATABASE, OURS = "bench_previous", "bench_size"
GOAL = 2.0
"""Bytes on disk per byte of body."""
PART = 10
"""The size is measured with a tenth of the events of a used database: 200,000."""
SIZE = """
SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = 'crossdock'::regnamespace AND relkind = 'r'
"""


async def bench_previous(servers: Servers, plan: Plan) -> list[Row]:
    """Measure both releases on a backlog, in turn, and then the size of each one's database."""
    admin = await asyncpg.connect(servers.database)
    sides = [await side(servers, admin, OURS, servers.root)]
    sides.append(await side(servers, admin, DATABASE, checkout(servers.folder)))
    rates: list[list[float]] = [[], []]
    for turn in range(plan.runs):
        for number in (0, 1) if turn % 2 == 0 else (1, 0):
            await _fill(sides[number], plan.messages)
            rates[number].append(await _stored(sides[number], plan.messages))
    sizes = []
    for each in sides:
        count = plan.stored // PART
        await _fill(each, count)
        await _stored(each, count)
        sizes.append(await _bytes_per_byte(each))
    for name in (OURS, DATABASE):
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()
    against = f"commit {COMMIT}"
    return [
        Row("stored events/s, example bodies", against, rates[0], rates[1], 1.2),
        Row("bytes on disk per byte of body", "the goal", [sizes[0]], [GOAL], 1.0, less=True, digits=2),
        Row("bytes on disk per byte of body", against, [sizes[0]], [sizes[1]], less=True, digits=2),
    ]


def checkout(folder: Path) -> Path:
    """Return a folder with the files of COMMIT. Raises BenchmarkError if the repository does not have it."""
    root = folder / "previous"
    root.mkdir(exist_ok=True)
    archive = subprocess.run(
        ["git", "-C", str(Path(__file__).parents[1]), "archive", COMMIT], capture_output=True, check=False
    )
    if archive.returncode:
        raise BenchmarkError(f"this copy of the repository does not have commit {COMMIT}")
    subprocess.run(["tar", "-x", "-C", str(root)], input=archive.stdout, check=True)
    return root


async def side(servers: Servers, admin: asyncpg.Connection, name: str, root: Path) -> Servers:
    """Return the servers with the code of a folder and a database that it has migrated. Raises BenchmarkError."""
    await admin.execute(f"DROP DATABASE IF EXISTS {name}")
    await admin.execute(f"CREATE DATABASE {name}")
    result = msgspec.structs.replace(servers, database=f"{servers.database.rpartition('/')[0]}/{name}", root=root)
    async with process(result, "-m", "deploy.cli.main", "migrate", "--post") as child:
        if await asyncio.to_thread(child.wait):
            raise BenchmarkError(f"the code of {root.name} did not migrate its database")
    return result


async def _fill(side: Servers, messages: int) -> None:
    """Empty the database, and publish examples."""
    database = await asyncpg.connect(side.database)
    await backlog.empty(database)
    await database.close()
    await purge(side.amqp)
    await publish(side, messages)


async def publish(side: Servers, messages: int) -> None:
    """Publish every example of every platform in turn, each time as another document."""
    examples = [
        (
            platform,
            event.name,
            registry.example(name, example),
            Stamp(name, "bench", event.name, "application/json", None),
        )
        for name, platform in registry.platforms().items()
        for event in platform.events
        for example in event.examples
    ]
    posts, prefix = itertools.cycle(examples), uuid4().hex[:20]

    def body(number: int) -> tuple[Stamp, bytes]:
        platform, event, raw, stamp = next(posts)
        assert platform.with_new_key is not None
        return stamp, platform.with_new_key(event, raw, f"{prefix}{number:012}")

    await backlog.publish(side, messages, body, exchange="", key=STORE)


async def _stored(side: Servers, messages: int) -> float:
    return await backlog.timed(side, backlog.store_worker(), "crossdock.receipts", STORE, messages)


async def _bytes_per_byte(side: Servers) -> float:
    """Return the size of all tables and indexes after VACUUM, per byte of stored body."""
    database = await asyncpg.connect(side.database)
    await database.execute("VACUUM", timeout=600)
    size, content = (
        await database.fetchval(SIZE),
        await database.fetchval("SELECT sum(octet_length(raw)) FROM crossdock.receipts", timeout=600),
    )
    await database.close()
    return float(size / content)
