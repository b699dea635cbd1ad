"""PostgreSQL with a streaming replica that acknowledges every commit, and takes over when the primary dies."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from deploy.local.children import StartError, exited, spawn, tail
from deploy.local.postgres import NOBODY, Postgres, binaries, reachable
from deploy.local.rabbitmq import RabbitMQ
from tests.faults.backing import signal_all
from tests.faults.site import Site
from tests.faults.trial import Fault
from tests.support.pipeline import until

BACKUP_TIMEOUT = 30.0


class Pair:
    """A primary and its synchronous replica."""

    def __init__(self, folder: Path) -> None:
        self.primary = Postgres(folder / "primary")
        self.replica = Postgres(folder / "replica")
        self._folder = folder

    def url(self, *order: Postgres) -> str:
        """One URL that names these, in this order."""
        login, _, rest = order[0].url.rpartition("@")
        hosts = ",".join(node.url.rpartition("@")[2].partition("/")[0] for node in order)
        return f"{login}@{hosts}/{rest.partition('/')[2]}"

    async def start(self) -> None:
        """Start both servers, and wait until commits wait for the replica. Raises StartError."""
        await self.primary.start()
        await self._copy()
        await self.replica.start()
        await self._follow()

    async def stop(self) -> None:
        """Stop both servers, the replica last, because a primary that shuts down waits for it."""
        await self.primary.stop()
        await self.replica.stop()

    async def promote(self) -> None:
        """Kill the primary, which stays down, and promote the replica."""
        signal_all(self.primary.pid, signal.SIGKILL)
        connection = await asyncpg.connect(self.replica.url)
        try:
            assert await connection.fetchval("SELECT pg_promote()")
        finally:
            await connection.close()

    async def _copy(self) -> None:
        """Copy the replica's data with pg_basebackup, and the settings with which it follows the primary."""
        target, log = self._folder / "replica", self._folder / "backup.log"
        target.mkdir()
        password = (self._folder / "primary" / "password").read_text()
        (target / "password").write_text(password)
        user = NOBODY if os.geteuid() == 0 else None
        if user is not None:
            os.chown(target, user, user)
        address = self.primary.url.rpartition("@")[2].partition("/")[0]
        host, _, port = address.partition(":")
        # The server's user may not enter the folders above, and enters its own through a handle.
        handle = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        try:
            data = f"/proc/self/fd/{handle}/data"
            command = [str(reachable(binaries()) / "pg_basebackup"), "-D", data, "-h", host, "-p", port]
            command += ["-U", "postgres", "-R", "-X", "stream", "-c", "fast"]
            env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PGPASSWORD": password}
            copying = spawn(command, env=env, log=log, user=user, pass_fds=(handle,))
            if not await exited(copying, BACKUP_TIMEOUT) or copying.returncode:
                raise StartError(f"pg_basebackup failed: {tail(log)}")
        finally:
            os.close(handle)

    async def _follow(self) -> None:
        """Make commits wait for the replica. Set after the copy, which would otherwise wait for itself."""
        connection = await asyncpg.connect(self.primary.url)
        try:
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await connection.execute("SELECT pg_reload_conf()")
            synchronous = "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
            await until(lambda: connection.fetchval(synchronous), what="a synchronous replica")
        finally:
            await connection.close()


class Replicated:
    """A PostgreSQL primary and its replica under one `DATABASE_URL`, and one RabbitMQ."""

    def __init__(self, folder: Path) -> None:
        self.rabbitmq = RabbitMQ(folder / "rabbitmq")
        self.pair = Pair(folder)
        self.amqp_url = ""
        self.database_url = ""

    async def start(self) -> None:
        await asyncio.gather(self.rabbitmq.start(), self.pair.start())
        self.amqp_url = self.rabbitmq.url
        self.database_url = self.pair.url(self.pair.primary, self.pair.replica)

    async def stop(self) -> None:
        await asyncio.gather(self.rabbitmq.stop(), self.pair.stop())


def _pair(site: Site) -> Pair:
    assert isinstance(site.backing, Replicated)
    return site.backing.pair


@asynccontextmanager
async def replica_stopped(site: Site) -> AsyncIterator[None]:
    """SIGSTOP to the replica: no commit is acknowledged until the SIGCONT at the end."""
    postmaster = _pair(site).replica.pid
    signal_all(postmaster, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(postmaster, signal.SIGCONT)


@asynccontextmanager
async def promoted(site: Site) -> AsyncIterator[None]:
    """The replica becomes the primary for good."""
    await _pair(site).promote()
    yield


FAULTS = (
    Fault("replica stopped, then goes on", replica_stopped, 4.0),
    Fault("primary killed, replica promoted", promoted, 0.0),
)
