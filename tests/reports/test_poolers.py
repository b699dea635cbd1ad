"""PostgreSQL behind PgBouncer: session mode works as it is, transaction mode is refused with one line."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest
import pytest_asyncio
from yarl import URL

from deploy.local.children import end, free_ports, spawn, tail
from deploy.local.postgres import NOBODY
from deploy.process import Component
from schemas.config import Config
from schemas.registry import example
from storage import pool as pools
from storage import roles
from storage.migrate import migrate
from tests import restarts
from tests.support import delivering, pipeline
from tests.support.shell import ROOT, Shell
from workers.store.worker import StoreWorker

PROGRAM = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")

REFUSED = "set pool_mode = session"
CONFIG = """
[ingress]
host = "::"
[[accounts.channelape.shop.keys]]
name = "k"
secret = "KBc+fU/5=="
"""

Start = Callable[..., Awaitable[str]]


@pytest_asyncio.fixture
async def pgbouncer(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a PgBouncer of its defaults before a server, in a mode; return the URL that leads through it."""
    running = []

    async def start(url: str, mode: str, more: str = "") -> str:
        assert PROGRAM is not None
        server = urlsplit(url)
        folder = tmp_path / f"pgbouncer-{mode}"
        folder.mkdir()
        (port,) = free_ports(1)
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={server.hostname} port={server.port} user={server.username} "
            f"password={server.password}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
            f"unix_socket_dir =\nauth_type = any\npool_mode = {mode}\n{more}\n"
        )
        user = NOBODY if os.geteuid() == 0 else None
        if user is not None:
            for path in (*reversed([p for p in settings.parents if p.is_relative_to(tmp_path)]), settings):
                os.chown(path, user, user)
        with settings.open() as handle:
            process = spawn(
                [PROGRAM, f"/proc/self/fd/{handle.fileno()}"],
                env={}, log=folder / "log", user=user, pass_fds=(handle.fileno(),),
            )  # fmt: skip
        running.append(process)
        through = f"postgresql://{server.username}@127.0.0.1:{port}{server.path}"

        async def listens() -> bool:
            assert process.poll() is None, tail(folder / "log")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await pipeline.until(listens, what="PgBouncer listens")
        return through

    yield start
    for process in running:
        await end(process, 15, 5.0)


def says(worker: Component, text: str) -> bool:
    return any(text in problem for problem in worker.problems())


async def run(*args: str, env: dict[str, str]) -> tuple[int, str]:
    result = await Shell(ROOT, **env)(*args)
    return result.code, result.out + result.err


async def user(url: str) -> str:
    """Whose privileges the next client of a pooler has."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    name = str(await connection.fetchval("SELECT current_user::text"))
    await connection.close()
    return name


async def test_transaction_mode_is_refused_with_one_line(
    pgbouncer: Start, database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    """Reported as asyncpg#1013 and prefect#14602."""
    url = await pgbouncer(database_url, "transaction")
    for refused in (
        lambda: pools.create_pool(url, size=2, role=roles.STORE),
        lambda: pools.connect(url, role=roles.STORE),
        lambda: migrate(url),
    ):
        with pytest.raises(pools.UnsupportedPoolerError, match=REFUSED):
            await refused()
    assert await user(url) == "postgres"  # no role is left on a server connection that others share

    config = tmp_path / "crossdock.toml"
    config.write_text(CONFIG)
    env = {"DATABASE_URL": url, "AMQP_URL": amqp_url}
    code, output = await run("check", "--config", str(config), env=env)
    assert code == 1
    assert REFUSED in " ".join(output.split())
    assert "statement_cache_size" not in output  # asyncpg's own hint is about a setting that we don't have
    code, output = await run("migrate", env=env)
    assert (code, output.count("\n")) == (1, 1), output
    # A worker holds what it has, says why, and goes on once the mode is mended.
    for worker in (StoreWorker(Config(), amqp_url=amqp_url, database_url=url), delivering.worker(url)):
        await worker.start()
        try:
            await pipeline.until(partial(says, worker, REFUSED), what="the worker says so")
        finally:
            await worker.stop()


async def test_session_mode_keeps_settings_and_listens(pgbouncer: Start, blank_url: str) -> None:
    url = await pgbouncer(blank_url, "session")
    assert await migrate(url)
    pool = await pools.create_pool(url, size=2, role=roles.STORE)
    try:
        for _ in range(3):  # settings and role outlive the reset of each release
            async with pool.acquire() as connection:
                assert await connection.fetchval("SELECT current_user::text") == roles.STORE
                assert await connection.fetchval("SHOW statement_timeout") == "35s"
                assert await connection.fetchval("SHOW jit") == "off"
                assert await connection.fetchval("SHOW timezone") == "UTC"
        listener = await pools.connect(url)
        notifications: asyncio.Queue[str] = asyncio.Queue()
        await listener.add_listener("reports", lambda *arguments: notifications.put_nowait(arguments[-1]))
        await pool.execute("NOTIFY reports, 'heard'")
        assert await notifications.get() == "heard"
        assert await listener.fetchval("SHOW statement_timeout") == "0"
        await listener.close()
    finally:
        await pool.close()
    for _ in range(3):
        assert await user(url) == "postgres"  # the pooler's reset ends the role


async def test_a_server_without_a_pooler_is_asked_once(database_url: str) -> None:
    connection = await pools.connect(database_url)
    assert connection.get_server_pid() == await connection.fetchval("SELECT pg_backend_pid()")
    await connection.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
@pytest.mark.long
async def test_the_whole_pipeline_behind_a_pool_of_20_on_both_families(
    pgbouncer: Start, blank_url: str, tmp_path: Path
) -> None:
    """Reported as prefect#14602 and uvicorn#2945."""
    url = await pgbouncer(blank_url, "session")
    config = tmp_path / "crossdock.toml"
    config.write_text(CONFIG)
    running = await restarts.start(tmp_path / "state", {"DATABASE_URL": url}, "--config", str(config))
    try:
        (port,) = {urlsplit(running.endpoints["ingress"]).port}
        body = example("channelape", "stock_transfer_order")
        async with aiohttp.ClientSession() as http:
            for host in ("127.0.0.1", "[::1]"):
                for n in range(20):
                    order = body.replace(b"4600000039", f"{host}-{n}".encode())
                    url = f"http://{host}:{port}/hooks/channelape/shop/stock-transfer-orders?k=KBc+fU/5=="
                    async with http.post(URL(url, encoded=True), data=order) as answer:
                        assert answer.status == 200, await answer.text()
        connection = await asyncpg.connect(blank_url)
        stored = "SELECT count(DISTINCT key) FROM crossdock.current_events"

        async def all_stored() -> bool:
            return bool(await connection.fetchval(stored) == 40)

        await pipeline.until(all_stored, what="all orders are stored")
        await connection.close()
    finally:
        assert await running.terminate() == 0
