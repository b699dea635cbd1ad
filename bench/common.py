"""What every part of the benchmarks uses: private servers, and processes."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import msgspec
from aio_pika.abc import AbstractChannel

from broker import topology
from broker.connection import connect
from deploy.local.children import end, spawn
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from schemas.topology import STORE
from storage import migrate

PEERS = Path(__file__).parent / "peers"
PATIENCE = 120.0
"""Maximum seconds for a peer that measures itself."""


class BenchmarkError(Exception):
    """A program did not do its work; the text is one line for the table."""


class Servers(msgspec.Struct, frozen=True):
    """The servers' URLs and PIDs, and a folder for other files."""

    amqp: str
    database: str
    folder: Path
    rabbitmq_pid: int
    postgres_pid: int
    root: Path = Path(__file__).parents[1]
    """Folder of the code that processes run."""

    @property
    def env(self) -> dict[str, str]:
        config = self.folder / "crossdock.toml"
        config.write_text("# the demo accounts\n")
        more = {"AMQP_URL": self.amqp, "DATABASE_URL": self.database, "CROSSDOCK_CONFIG": str(config)}
        return {**os.environ, **more, "PYTHONPATH": str(self.root)}


@asynccontextmanager
async def start_servers() -> AsyncIterator[Servers]:
    """Start a private RabbitMQ and PostgreSQL with our topology and schema.

    PostgreSQL records when each transaction was committed, because latencies end at the commit.
    """
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-", ignore_cleanup_errors=True) as folder:
        rabbitmq, postgres = RabbitMQ(Path(folder) / "rabbitmq"), Postgres(Path(folder) / "postgres")
        try:
            await asyncio.gather(rabbitmq.start(), _with_commit_times(postgres))
            await topology.apply(rabbitmq.url)
            await migrate.migrate(postgres.url)
            yield Servers(rabbitmq.url, postgres.url, Path(folder), rabbitmq.pid, postgres.pid)
        finally:
            await asyncio.gather(rabbitmq.stop(), postgres.stop())


async def _with_commit_times(postgres: Postgres) -> None:
    await postgres.start()
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    await connection.close()
    await postgres.restart()


@asynccontextmanager
async def process(
    servers: Servers, *command: str, env: Mapping[str, str] = {}
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run a Python process, with its output in the temporary folder; `env` overrides the usual environment."""
    log = servers.folder / "processes.log"
    # -P: modules come from `root`, not from the current directory.
    child = spawn([sys.executable, "-P", *command], env={**servers.env, **env}, log=log)
    try:
        yield child
    finally:
        await end(child, 15, 15)


async def until(look: Callable[[], Awaitable[bool]], what: str, *, seconds: float = 60, pause: float = 0.1) -> None:
    """Call `look` repeatedly until it returns True. Raises TimeoutError that names `what`."""
    end = time.monotonic() + seconds
    while not await look():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(pause)


async def rate(servers: Servers, *command: str, body: bytes = b"") -> float:
    """Run a peer that measures itself, and return the rate that it prints. Raises BenchmarkError."""
    peer = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env=servers.env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, errors = await peer.communicate(body)
    except TimeoutError:
        peer.kill()
        await peer.wait()
        raise BenchmarkError(f"{Path(command[0]).name} took more than {PATIENCE:.0f} s") from None
    if peer.returncode:
        errors_shown = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise BenchmarkError(f"{Path(command[0]).name} ended with {peer.returncode}: {' '.join(errors_shown)}"[:200])
    return float(out)


async def answers(url: str, status: int, seconds: float = 30) -> None:
    """Wait until `url` answers with `status`. Raises TimeoutError."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:

        async def look() -> bool:
            try:
                async with session.get(url) as answer:
                    return answer.status == status
            except (aiohttp.ClientError, TimeoutError):
                return False

        await until(look, f"{url} answers {status}", seconds=seconds, pause=0.05)


@asynccontextmanager
async def channel(amqp: str) -> AsyncIterator[AbstractChannel]:
    """Open a channel on its own connection."""
    connection = await connect(amqp)
    try:
        yield await connection.channel()
    finally:
        await connection.close()


async def waiting(opened: AbstractChannel, queue: str) -> int:
    """Return the number of messages that are ready in a queue; raises ChannelNotFoundEntity if it does not exist."""
    return (await opened.get_queue(queue)).declaration_result.message_count or 0


async def purge(amqp: str, queue: str = STORE) -> None:
    """Empty a queue for the next run."""
    async with channel(amqp) as opened:
        await (await opened.get_queue(queue, ensure=False)).purge()
