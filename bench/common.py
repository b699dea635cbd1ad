"""What every part of the benchmarks uses: servers of its own, processes, a row of the table."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import aiormq
import msgspec

from broker import topology
from deploy.local.children import end, spawn
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from schemas.topology import STORE
from storage import migrate

PEERS = Path(__file__).parent / "peers"


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


async def purge(amqp: str) -> None:
    """An empty queue for the next run."""
    connection = await aiormq.connect(amqp)
    channel = await connection.channel()
    await channel.queue_purge(STORE)
    await connection.close()
