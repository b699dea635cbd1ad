"""`make bench`: our processes beside what people would pick instead, in turn, in one run, on servers of their own.

python -m bench [--quick] [ingress] [store] [answers] [deliveries]
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import aiohttp
import aiormq
import asyncpg
import msgspec
from rich.console import Console
from rich.table import Table

from bench import answers as waiting
from bench import deliveries as outbound
from bench import load
from broker import topology
from broker.connection import Link
from broker.publisher import Publisher
from deploy import config as configuration
from deploy.local.children import end, free_ports, spawn
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from ingress.hooks import identity
from schemas import registry
from schemas.envelope import Stamp
from schemas.topology import INBOUND, STORE
from storage import migrate

PEERS = Path(__file__).parent / "peers"
RESULTS = Path(__file__).parent / "results"
PEER_QUEUE = "bench.rows"


class Row(msgspec.Struct, frozen=True):
    """One comparison, run by run: rates (a second), or times (milliseconds) where less is better."""

    what: str
    against: str
    ours: list[float]
    theirs: list[float]
    goal: float | None
    """What the project asks of itself; None where it only looks."""
    less: bool = False

    @property
    def ratio(self) -> float:
        """Median of the runs' own ratios: a machine that slows down for a while slows both of a pair."""
        return statistics.median(ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True))


class Servers(msgspec.Struct, frozen=True):
    amqp: str
    database: str
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        root = str(Path(__file__).parents[1])
        config = self.folder / "crossdock.toml"
        config.write_text("# the demo accounts\n")
        more = {"AMQP_URL": self.amqp, "DATABASE_URL": self.database, "CROSSDOCK_CONFIG": str(config)}
        return {**os.environ, **more, "PYTHONPATH": root}


@asynccontextmanager
async def servers() -> AsyncIterator[Servers]:
    """A private RabbitMQ and PostgreSQL, with our topology and schema."""
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-", ignore_cleanup_errors=True) as folder:
        rabbitmq, postgres = RabbitMQ(Path(folder) / "rabbitmq"), Postgres(Path(folder) / "postgres")
        try:
            await asyncio.gather(rabbitmq.start(), postgres.start())
            await topology.apply(rabbitmq.url)
            await migrate.migrate(postgres.url)
            yield Servers(rabbitmq.url, postgres.url, Path(folder))
        finally:
            await asyncio.gather(rabbitmq.stop(), postgres.stop())


@asynccontextmanager
async def process(found: Servers, *command: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    """One process, its output in the temporary folder, ended when done."""
    child = spawn([sys.executable, *command], env=found.env, log=found.folder / "processes.log")
    try:
        yield child
    finally:
        await end(child, 15, 15)


async def answers(url: str, status: int, seconds: float = 30) -> None:
    """Waits until `url` answers with `status`."""
    until = time.monotonic() + seconds
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as answer:
                    if answer.status == status:
                        return
            except aiohttp.ClientError:
                pass
            if time.monotonic() > until:
                raise TimeoutError(f"{url} did not answer {status}")
            await asyncio.sleep(0.05)


async def bench_ingress(found: Servers, *, runs: int, seconds: int, connections: int) -> list[Row]:
    """Requests accepted a second: verified, confirmed on the quorum queue; beside a handler that does nothing."""
    platform = registry.platforms()["channelape"]
    account = platform.demo[0]
    raw = msgspec.json.format(registry.example("channelape", "receipt_confirmation"), indent=-1)  # as machines send it
    signed = platform.sign(raw, configuration.parse({}, found.folder).accounts["channelape"][account])
    query = "&".join(f"{name}={value}" for name, value in signed.query.items())
    port, admin, bare = free_ports(3)
    path = f"/hooks/channelape/{account}/receipt-confirmations?{query}"
    headers = {"Content-Type": "application/json", **signed.headers}
    ours: list[float] = []
    theirs: list[float] = []
    ingress = ("-m", "deploy.cli.main", "ingress", "--port", str(port), "--admin-port", str(admin))
    async with process(found, *ingress), process(found, str(PEERS / "bare_aiohttp.py"), str(bare)):
        await answers(f"http://127.0.0.1:{admin}/readyz", 200)
        await answers(f"http://127.0.0.1:{bare}/", 405)
        for target, rates in [(port, ours), (bare, theirs)] * runs:
            url = f"http://127.0.0.1:{target}{path}"
            result = await asyncio.to_thread(load.run, url, headers, raw, connections=connections, seconds=seconds)
            if result.failed:
                raise RuntimeError(f"{result.failed} requests to {url.split('?')[0]} failed")
            rates.append(result.per_second)
            await purge(found.amqp)
    size = f"{len(raw) / 1000:.1f} kB"
    return [Row(f"ingress accepted/s, {size}, {connections} connections", "bare aiohttp handler", ours, theirs, 0.5)]


async def purge(amqp: str) -> None:
    """An empty queue for the next run."""
    connection = await aiormq.connect(amqp)
    channel = await connection.channel()
    await channel.queue_purge(STORE)
    await connection.close()


async def bench_store(found: Servers, *, runs: int, messages: int) -> list[Row]:
    """Events stored a second from a backlog, one worker; beside FastStream with a row per message."""
    connection = await aiormq.connect(found.amqp)
    channel = await connection.channel()
    await channel.queue_declare(PEER_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    await connection.close()
    database = await asyncpg.connect(found.database)
    await database.execute("CREATE TABLE IF NOT EXISTS bench_rows (id uuid PRIMARY KEY, key text, body jsonb)")
    admin = free_ports(1)[0]
    ours: list[float] = []
    theirs: list[float] = []
    worker = ("-m", "deploy.cli.main", "worker", "store", "--admin-port", str(admin))
    peer = (str(PEERS / "faststream_row.py"), found.amqp, found.database, PEER_QUEUE)
    for _ in range(runs):
        await fill(found.amqp, INBOUND, "channelape.rothys.receipt_confirmation", messages)
        await database.execute("TRUNCATE crossdock.documents, crossdock.receipts, crossdock.versions CASCADE")
        ours.append(await timed(found, database, worker, "crossdock.receipts", STORE, messages))
        await fill(found.amqp, "", PEER_QUEUE, messages)
        await database.execute("TRUNCATE bench_rows")
        theirs.append(await timed(found, database, peer, "bench_rows", PEER_QUEUE, messages))
    await database.close()
    return [Row("stored events/s, one worker, from a backlog", "FastStream, a row per message", ours, theirs, 4.0)]


async def fill(amqp: str, exchange: str, key: str, messages: int) -> None:
    """A backlog of distinct documents."""
    platform = registry.platforms()["channelape"]
    assert platform.vary is not None
    raw = msgspec.json.format(registry.example("channelape", "receipt_confirmation"), indent=-1)
    stamp = Stamp("channelape", "rothys", "receipt_confirmation", "application/json", None)
    publisher = Publisher(confirm_timeout=60)

    async def on_open(link: Link, connection: aiormq.abc.AbstractConnection) -> None:
        publisher.use(link.transport, await link.channel(connection, confirms=True))

    link = Link(amqp, name="bench", on_open=on_open, on_lost=publisher.on_lost)
    link.start()
    await link.opened.wait()
    left = messages
    while left:
        futures = []
        for _ in range(min(left, 2000)):
            name = identity.message_id()
            body = platform.vary("receipt_confirmation", raw, uuid4().hex)
            properties = stamp(name, time.time(), identity.traceparent(None))
            futures.append(publisher.publish(exchange, key, properties, name, body))
        await asyncio.gather(*futures)
        left -= len(futures)
    await publisher.stop()
    await link.stop()


async def timed(
    found: Servers, database: asyncpg.Connection, command: tuple[str, ...], table: str, queue: str, messages: int
) -> float:
    """Messages a second, from the first one stored to the last: the start of a process is nobody's throughput.

    Counting costs the database time, so rows are counted while there are few, and again once the queue is empty.
    """
    connection = await aiormq.connect(found.amqp)
    channel = await connection.channel()
    count = f"SELECT count(*) FROM {table}"  # noqa: S608 - ours
    until = time.monotonic() + 180
    async with process(found, *command) as child:

        async def wait(pause: float) -> None:
            if time.monotonic() > until or child.poll() is not None:
                raise RuntimeError(f"{' '.join(command[:4])} did not store {messages} messages; see its log")
            await asyncio.sleep(pause)

        while not (before := await database.fetchval(count)):
            await wait(0.02)
        started = time.perf_counter()
        while (await channel.queue_declare(queue, passive=True)).message_count:
            await wait(0.1)
        while await database.fetchval(count) < messages:
            await wait(0.05)
        rate: float = (messages - before) / (time.perf_counter() - started)
    await connection.close()
    return rate


def report(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = ["| what | against | ours | theirs | ratio | goal |", "|---|---|---|---|---|---|"]
    for row in rows:
        form = ".2f" if row.less else ".0f"
        ours, theirs = (
            f"{statistics.median(one):,{form}} ({min(one):,{form}}–{max(one):,{form}})"
            for one in (row.ours, row.theirs)
        )
        goal = "" if row.goal is None else f"{'≤' if row.less else '≥'} {row.goal}"
        lines.append(f"| {row.what} | {row.against} | {ours} | {theirs} | {row.ratio:.2f} | {goal} |")
    return "\n".join(lines) + "\n"


def show(console: Console, rows: list[Row]) -> None:
    table = Table(title="medians (lowest–highest)", title_justify="left", box=None, pad_edge=False)
    for name in ("what", "against", "ours", "theirs", "ratio", "goal"):
        table.add_column(name)
    for line in report(rows).splitlines()[2:]:
        table.add_row(*(cell.strip() for cell in line.strip("|").split("|")))
    console.print(table)


async def bench_answers(found: Servers, *, runs: int, count: int) -> list[Row]:
    """uStore's answers in milliseconds, for one shopper and for several at a time."""
    rows = []
    for at_once in (waiting.ALONE, waiting.TOGETHER):
        results = [
            await waiting.measure(found.env, found.amqp, found.folder, count=count, at_once=at_once)
            for _ in range(runs)
        ]
        what, against = f"uStore answer, {at_once} at a time", "bare HTTP + bare direct reply"
        for name, goal in (("p50", 2.5), ("p99", None)):
            ours = [getattr(one.ours, name) for one in results]
            theirs = [getattr(one.http, name) + getattr(one.reply, name) for one in results]
            rows.append(Row(f"{what}, {name} ms", against, ours, theirs, goal, less=True))
    return rows


async def bench_deliveries(found: Servers, *, runs: int, count: int) -> list[Row]:
    """Webhooks out a second."""
    database = await asyncpg.connect(found.database)
    ours, theirs = await outbound.measure(database, found.env, found.folder, runs=runs, count=count)
    await database.close()
    return [Row("deliveries/s, one worker, from a backlog", "bare aiohttp client", ours, theirs, 0.5)]


async def main(parts: list[str], *, quick: bool) -> list[Row]:
    """The parts asked for, or all."""
    runs = 3
    plans: dict[str, Callable[[Servers], Awaitable[list[Row]]]] = {
        "ingress": lambda found: bench_ingress(found, runs=runs, seconds=3 if quick else 10, connections=64),
        "store": lambda found: bench_store(found, runs=runs, messages=8_000 if quick else 20_000),
        "answers": lambda found: bench_answers(found, runs=runs, count=400 if quick else 2_000),
        "deliveries": lambda found: bench_deliveries(found, runs=runs, count=6_000 if quick else 20_000),
    }
    async with servers() as found:
        return [row for name in parts or list(plans) for row in await plans[name](found)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="ingress, store, answers, deliveries; default all")
    parser.add_argument("--quick", action="store_true", help="about a minute")
    arguments = parser.parse_args()
    console = Console(width=150 if not sys.stdout.isatty() else None, highlight=False)
    console.print(f"load by {load.generator()}; {os.cpu_count()} cores")
    found_rows = asyncio.run(main(arguments.parts, quick=arguments.quick))
    show(console, found_rows)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.md").write_text(report(found_rows))
    (RESULTS / "latest.json").write_bytes(msgspec.json.format(msgspec.json.encode(found_rows)))
