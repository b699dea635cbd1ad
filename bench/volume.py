"""Whether the store worker stays as fast with a large backlog in the queue and many events in the database."""

import asyncpg
import msgspec

from bench import backlog, cpu
from bench.common import Servers, purge
from bench.plan import Plan
from bench.row import Row
from storage import migrate

FULL_DATABASE = "bench_full"
CHUNK = 100_000
"""Rows per transaction while the database is filled."""
SPACING = "0.1 seconds"
"""Time between the generated posts; two million are some two days."""
PAIRS = 2
"""Factor of pairs compared with other parts. After a checkpoint, the first change of an index page logs the whole page
(PostgreSQL: `full_page_writes`), so that the first runs with many events are slower than those that follow."""
RECEIVED = ("received_at", "last_received_at")


async def bench_backlog(servers: Servers, plan: Plan) -> list[Row]:
    """Measure the same number of messages from a large backlog and from a small one."""
    database = await asyncpg.connect(servers.database)
    large: list[float] = []
    small: list[float] = []
    for _ in range(max(1, plan.runs - 1)):  # a large backlog takes most of a minute to make
        for backed, rates in ((plan.large, large), (plan.small, small)):
            await backlog.empty(database)
            await backlog.fill(servers, backed)
            await cpu.at_rest(servers.rabbitmq_pid)
            rates.append(await backlog.stored(servers, plan.small, more=True))
            await purge(servers.amqp)
    await database.close()
    what, against = f"stored events/s, backlog of {plan.large:,}", f"backlog of {plan.small:,}"
    return [Row(what, against, large, small, 0.9)]


async def bench_stored(servers: Servers, plan: Plan) -> list[Row]:
    """Measure a database with many stored events and an empty one, in one server with the same settings."""
    database = await asyncpg.connect(servers.database)
    await database.execute(f"CREATE DATABASE {FULL_DATABASE}")
    base, _, _ = servers.database.rpartition("/")
    full = msgspec.structs.replace(servers, database=f"{base}/{FULL_DATABASE}")
    await migrate.migrate(full.database)
    await _use(full, plan.stored)
    used: list[float] = []
    fresh: list[float] = []
    for turn in range(PAIRS * plan.runs):
        await backlog.empty(database)
        for used_servers, rates in ((full, used), (servers, fresh))[:: 1 if turn % 2 == 0 else -1]:
            await backlog.fill(used_servers, plan.messages)
            await cpu.at_rest(servers.postgres_pid)
            rates.append(await backlog.stored(used_servers, plan.messages))
    await database.close()
    what = f"stored events/s with {plan.stored:,} stored"
    return [Row(what, "with none stored", used, fresh, 0.85)]


async def _use(full: Servers, count: int) -> None:
    """Fill the tables and indexes that the worker uses: one stored event, copied `count` times under other keys.

    This is done by SQL, because the worker would take minutes, and followed by what autovacuum would have done.
    """
    await backlog.fill(full, 1)
    await backlog.stored(full, 1)
    database = await asyncpg.connect(full.database)
    newest = await database.fetchval("SELECT (now() - interval '1 minute')::text")
    moment = f"'{newest}'::timestamptz - n * interval '{SPACING}'"
    version = "md5('version' || n)::uuid"
    changed = {
        "documents": {"id": "o.id + n", "key": "md5(n::text)", "version_id": version},
        "receipts": {"message_id": "md5('message' || n)::uuid", "document_id": "o.document_id + n"},
        "versions": {
            "id": version,
            "document_id": "o.document_id + n",
            "message_id": "md5('message' || n)::uuid",
        },
    }
    for table, ours in changed.items():
        columns = await database.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'crossdock' AND table_name = $1",
            table,
        )
        names = [row["column_name"] for row in columns]
        values = [ours.get(name, moment if name in RECEIVED else f"o.{name}") for name in names]
        await database.execute(f"CREATE TEMP TABLE origin AS SELECT * FROM crossdock.{table}")  # noqa: S608 - ours
        statement = (
            f"INSERT INTO crossdock.{table} ({', '.join(names)}) OVERRIDING SYSTEM VALUE "  # noqa: S608 - ours
            f"SELECT {', '.join(values)} FROM origin o, generate_series($1::bigint, $2::bigint) n"
        )
        for start in range(1, count + 1, CHUNK):
            await database.execute(statement, start, min(start + CHUNK - 1, count), timeout=600)
        await database.execute("DROP TABLE origin")
    highest = "SELECT setval(pg_get_serial_sequence('crossdock.documents', 'id'), max(id)) FROM crossdock.documents"
    await database.execute(highest)
    for table in changed:
        await database.execute(f"VACUUM ANALYZE crossdock.{table}", timeout=600)
    await database.execute("CHECKPOINT", timeout=600)
    await database.close()
