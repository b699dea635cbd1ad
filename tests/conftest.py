"""Real servers for the tests: a private PostgreSQL and RabbitMQ for each process of pytest, a fresh database and
virtual host for each test. Unit tests start neither."""

import asyncio
import gc
import logging
import os
import shutil
import tempfile
from asyncio import sleep  # by name, so that the heartbeat below keeps the real one when a test replaces it
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from time import monotonic
from uuid import uuid4

import aiohttp
import asyncpg
import psutil
import pytest
import pytest_asyncio
import uvloop
from hypothesis import settings

from broker import topology
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import USER, RabbitMQ
from storage import migrate
from telemetry.logs import TERSE, JsonFormatter
from tests.support.fifth_platform import fifth_platform
from tests.support.shell import Shell

# The gate draws the same inputs for the same code, so that it never turns red by a draw nobody's change made;
# `--hypothesis-profile explore` draws anew, ten times as many.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile("gate")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
MEMORY = Path("/dev/shm")  # noqa: S108 - the folder below is private and has a name that cannot be guessed
LEAST_MEMORY = 4 * 1024**3
"""Free bytes there; a container has 64 MB by default."""
PREFIX = "crossdock-tests-"
BUSY_THREAD = 20.0
BLOCKED = 2.0
"""Seconds that one step of the loop may take before a test fails; generous, for shared machines."""


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, LoopFactory]:
    """The loop of production."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long tests first, because one that began last would keep the other processes waiting for its end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Collected tests live as long as the run: the garbage collector need not examine them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own environment reaches a test."""
    for name in ("AMQP_URL", "DATABASE_URL", "CROSSDOCK_CONFIG", "CROSSDOCK_STATE", "CROSSDOCK_ENCRYPTION_KEY"):
        monkeypatch.delenv(name, raising=False)


CONFIGURED = ("", "crossdock", *TERSE)
"""The loggers whose levels `logs.setup` sets."""


@pytest.fixture(autouse=True)
def _logging_is_as_before() -> Iterator[None]:
    """Undo what a command's `logs.setup` leaves behind in the process of the tests.

    Its handler writes to the test's own standard error, which is closed afterwards: in a later test, each line of the
    log would become "--- Logging error ---" and a traceback. Its levels would hide lines that a later test waits for.
    """
    levels = {logger: logger.level for logger in map(logging.getLogger, CONFIGURED)}
    yield
    for logger, level in levels.items():
        if logger.level != level:
            logger.setLevel(level)
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler.formatter, JsonFormatter)]


@pytest_asyncio.fixture(autouse=True)
async def _nothing_blocks(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Fails the test if something held the loop: a heartbeat measures the longest gap between its own beats.

    Not where a test's own thread computes for seconds: that holds the interpreter, and not the loop.
    """
    limit = BUSY_THREAD if request.node.get_closest_marker("busy_thread") else BLOCKED
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = monotonic()
            await sleep(0.05)
            longest = max(longest, monotonic() - before - 0.05)

    task = asyncio.get_running_loop().create_task(beat())
    yield
    task.cancel()
    assert longest < limit, f"something blocked the event loop for {longest:.2f} s"


@pytest.fixture(autouse=True)
def _quiet_libraries() -> None:
    """Lost connections are part of many tests; the library's own account of them is not."""
    for name in ("aiormq", "aiormq.connection"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@pytest.fixture(scope="session")
def servers() -> Iterator[Path]:
    """Where the servers keep their data. Not pytest's own folder: under root PostgreSQL runs as another user, and each
    new run of pytest shuts others out of that."""
    with tempfile.TemporaryDirectory(prefix="crossdock-tests-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def memory(servers: Path) -> Iterator[Path]:
    """A folder in memory if the machine has enough of it, for the servers that all tests share.

    A database is cloned there in a tenth of the time. Tests of what survives have
    servers of their own on the disk.
    """
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < LEAST_MEMORY:
        yield servers
        return
    for folder in MEMORY.glob(f"{PREFIX}*"):  # of runs that were killed
        if not psutil.pid_exists(int(folder.name.split("-")[2])):
            shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY, ignore_cleanup_errors=True
    ) as folder_name:
        yield Path(folder_name)


@pytest_asyncio.fixture(scope="session")
async def postgres(memory: Path) -> AsyncIterator[Postgres]:
    """The run's PostgreSQL, with a migrated template database."""
    server = Postgres(memory / "postgres", durable=False)
    await server.start()
    try:
        await migrate.migrate(server.url)
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture(scope="session")
async def rabbitmq(memory: Path) -> AsyncIterator[RabbitMQ]:
    """The run's RabbitMQ, with the HTTP API that makes virtual hosts."""
    server = RabbitMQ(memory / "rabbitmq", management=True)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


connect, execute = asyncpg.connect, asyncpg.Connection.execute
"""As they are imported: databases are cloned while tests run, and a test may replace these methods for its duration."""


class Databases:
    """Fresh ones, cloned from the migrated one. A few are made ahead, while tests run: one takes half a second."""

    def __init__(self, postgres: Postgres) -> None:
        self._base = postgres.url.rsplit("/", 1)[0]
        self._ready: asyncio.Queue[str] = asyncio.Queue(maxsize=3)
        self._used: list[str] = []
        self._making: asyncio.Task[None] | None = None

    async def take(self) -> str:
        """URL of one that nobody has used. Raises what kept it from being made."""
        if self._making is None or self._making.done():  # what failed once is tried again, for the next test
            self._making = asyncio.get_running_loop().create_task(self._make(), name="databases")
        ready = asyncio.ensure_future(self._ready.get())
        await asyncio.wait((ready, self._making), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            self._making.result()
        return f"{self._base}/{await ready}"

    def give_back(self, url: str) -> None:
        """It may be dropped."""
        self._used.append(url.rpartition("/")[2])

    async def close(self) -> None:
        """Makes no more. What is left goes with the server."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)

    async def _make(self) -> None:
        connection = await connect(f"{self._base}/postgres")
        try:
            while True:
                while self._used:
                    await execute(connection, f"DROP DATABASE {self._used.pop()} WITH (FORCE)")
                name = f"test_{uuid4().hex}"
                # Files copied, and not their pages through the log: cheaper where nothing is synced.
                await execute(connection, f"CREATE DATABASE {name} TEMPLATE crossdock STRATEGY FILE_COPY")
                await self._ready.put(name)
        finally:
            await connection.close()


@pytest_asyncio.fixture(scope="session")
async def databases(postgres: Postgres) -> AsyncIterator[Databases]:
    databases = Databases(postgres)
    yield databases
    await databases.close()


@pytest_asyncio.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """The URL of a fresh database."""
    url = await databases.take()
    yield url
    databases.give_back(url)


@pytest_asyncio.fixture
async def blank_url(database_url: str) -> str:
    """The URL of an empty database."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("DROP SCHEMA crossdock CASCADE")
    finally:
        await connection.close()
    return database_url


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the fresh database."""
    connection = await asyncpg.connect(database_url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on the fresh database, as a store worker has one."""
    from storage import pool as pools

    created = await pools.create_pool(database_url, size=4)
    try:
        yield created
    finally:
        await created.close()


@pytest_asyncio.fixture
async def empty_amqp_url(rabbitmq: RabbitMQ) -> AsyncIterator[str]:
    """A fresh virtual host with nothing in it."""
    name = f"test-{uuid4().hex}"
    async with aiohttp.ClientSession(rabbitmq.management_url) as session:
        async with session.put(f"/api/vhosts/{name}") as answer:
            assert answer.status == 201, await answer.text()
        async with session.put(
            f"/api/permissions/{name}/{USER}", json={"configure": ".*", "write": ".*", "read": ".*"}
        ) as answer:
            assert answer.status in (201, 204), await answer.text()
        yield f"{rabbitmq.url}{name}"
        async with session.delete(f"/api/vhosts/{name}") as answer:
            assert answer.status == 204, await answer.text()


@pytest_asyncio.fixture
async def amqp_url(empty_amqp_url: str) -> str:
    """A fresh virtual host with our exchanges and queues."""
    await topology.apply(empty_amqp_url)
    return empty_amqp_url


@pytest.fixture
def fifth(tmp_path: Path) -> Iterator[str]:
    """The name of a fifth platform, which is registered while the test runs."""
    with fifth_platform(tmp_path) as name:
        yield name


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder for `crossdock up`."""
    return tmp_path / "state"


@pytest.fixture
def shell(tmp_path: Path, amqp_url: str, database_url: str) -> Shell:
    """`crossdock`, with the test's servers in its environment."""
    return Shell(tmp_path, AMQP_URL=amqp_url, DATABASE_URL=database_url)
