"""Ten thousand idle connections: signed posts are answered as before, also at the limit of connections."""

import asyncio
import resource
import socket
from pathlib import Path

import aiohttp
import pytest

from ingress import connections
from tests.attacks import processes, raw, suite
from tests.support.pipeline import until

CONNECTIONS = 10_000


def available() -> int:
    """Raise the limit of open files as far as allowed, and return how many connections this process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= CONNECTIONS + 500:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CONNECTIONS + 500), hard))
        return CONNECTIONS
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - 500


async def test_signed_posts_are_answered_beside_ten_thousand_idle_connections(tmp_path: Path, amqp_url: str) -> None:
    count = available()
    if count < CONNECTIONS:
        print(f"only {count} connections: the hard limit of open files is lower than {CONNECTIONS} need")  # noqa: T201
    loop = asyncio.get_running_loop()
    idle: list[socket.socket] = []
    async with suite.ingress(tmp_path, amqp_url) as (process, config):
        before = process.resident
        url = f"http://127.0.0.1:{process.port}{raw.hook(config)}"
        try:
            for number in range(count):
                idle.append(socket.socket())
                idle[-1].setblocking(False)
                await loop.sock_connect(idle[-1], ("127.0.0.1", process.port))
                if number % 500 == 0:  # no faster than they are accepted, because the backlog holds a thousand
                    await until(lambda: _open(process, len(idle) - 500), what="connections are accepted")
            await until(lambda: _open(process, count - 1), what=f"{count} connections")
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
                for _ in range(50):  # each on a new connection, at the limit
                    async with session.post(url, data=b"{}", timeout=aiohttp.ClientTimeout(5)) as answer:
                        assert answer.status == 200
            each = (process.resident - before) / count
            assert each < 32_768, f"an idle connection costs {each:.0f} bytes"
        finally:
            for connection in idle:
                connection.close()
        await until(lambda: _closed(process), what="they are closed")


async def _open(process: processes.Process, expected: int) -> bool:
    return await process.metric("crossdock_connections") >= expected


async def _closed(process: processes.Process) -> bool:
    return await process.metric("crossdock_connections") == 0


def test_a_low_limit_of_open_files_is_raised_or_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[tuple[int, int]] = []
    for (soft, hard), limit, allowed in (
        ((1024, 4096), 10_000, 4096 - connections.OTHER_FILES),
        ((1024, 20_000), 10_000, 10_000),
        ((1024, resource.RLIM_INFINITY), 10_000, 10_000),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 10_000, 10_000),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=(soft, hard): limits)
        monkeypatch.setattr(resource, "setrlimit", lambda _, limits: requested.append(limits))
        assert connections.raise_fd_limit(limit) == allowed
    assert requested == [(4096, 4096), (10_064, 20_000), (10_064, resource.RLIM_INFINITY)]
