"""What runs, what is away, and each process alone."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from broker import definitions
from deploy.admin import Admin
from schemas import registry
from tests.support import pipeline
from tests.support.shell import Shell

NOWHERE = {"AMQP_URL": "amqp://user:hush@127.0.0.1:1/", "DATABASE_URL": "postgresql://user:hush@127.0.0.1:1/db"}


async def test_status_shows_a_running_up(shell: Shell, amqp_url: str, database_url: str) -> None:
    """As `up` writes its endpoints: one process that is ready, one that isn't, one that has ended."""
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    fine, held_up = Admin("127.0.0.1", 0, list), Admin("127.0.0.1", 0, lambda: ["PostgreSQL is unavailable: away"])
    await fine.start()
    await held_up.start()
    state = shell.folder / "state"
    state.mkdir()
    known = {
        "amqp": amqp_url,
        "postgres": database_url,
        "ingress": "http://127.0.0.1:1",
        "admin": {"ingress": fine.url, "store": held_up.url},
        "pids": {"ingress": os.getpid(), "store": os.getpid(), "route": ended.pid, "postgres": os.getpid()},
    }
    (state / "endpoints.json").write_text(json.dumps(known))
    bare = Shell(shell.folder)
    try:
        result = await bare("status", "--state", str(state), "--seconds", "0.1")
        as_json = await bare("status", "--state", str(state), "--seconds", "0.1", "--json")
    finally:
        await fine.stop()
        await held_up.stop()
    assert (result.code, as_json.code) == (1, 1)
    states = {entry["name"]: entry["state"] for entry in as_json.json["processes"]}
    assert states == {
        "ingress": "ready",
        "store": "PostgreSQL is unavailable: away",
        "route": "ended",
        "postgres": "running",
    }
    assert as_json.json["problems"] == ["store: PostgreSQL is unavailable: away", "route: ended"]
    queues = {entry["name"]: (entry["messages"], entry["consumers"]) for entry in as_json.json["queues"]}
    assert queues["crossdock.store"] == (0, 0)
    assert as_json.json["quarantine"] == 0
    assert "crossdock.route.ustore" in result.out
    assert "crossdock: route: ended" in result.err


async def test_status_without_a_running_up_shows_queues_and_transfers(
    shell: Shell, database: asyncpg.Connection
) -> None:
    await database.execute(
        "INSERT INTO crossdock.transfer_states SELECT n, 'rothys', n::text, NULL, NULL, NULL, 1, 0, 0, 0, 0, 1, 1, 0, "
        "'ordered', now() - n * interval '1 day', NULL, now(), '{}' FROM generate_series(-1, 3) n WHERE n <> 0"
    )
    result = await shell("status", "--json")
    late = result.json["transfers"]
    assert (late["late"], late["longest_seconds"] // 86_400, late["filled"]) == ({"rothys": 3}, 3, 1)
    assert "transfers  3 late (rothys 3), for up to 3 d" in (await shell("status")).out
    assert result.code == 0
    assert result.json["processes"] == []
    assert len(result.json["queues"]) == 6


async def test_status_shows_the_rest_when_a_server_is_unreachable(tmp_path: Path, amqp_url: str) -> None:
    result = await Shell(tmp_path, AMQP_URL=amqp_url, DATABASE_URL=NOWHERE["DATABASE_URL"])("status", "--json")
    assert result.code == 1
    assert result.json["quarantine"] is None
    assert result.json["queues"]
    assert result.json["problems"] == [
        "PostgreSQL can't be reached at postgresql://user@127.0.0.1:1/db: Connection refused; "
        "check DATABASE_URL and that it is running"
    ]


@pytest.mark.parametrize(
    "args",
    [
        ("migrate",),
        ("topology", "apply"),
        ("topology", "check"),
        ("trace", "1"),
        ("quarantine", "list"),
        ("quarantine", "replay", "--all"),
        ("status",),
        ("check",),
        ("up", "--port", "0", "--state", "state"),
    ],
    ids=" ".join,
)
async def test_unreachable_servers_are_reported_without_the_password(args: tuple[str, ...], tmp_path: Path) -> None:
    result = await Shell(tmp_path, **NOWHERE)(*args)
    assert result.code == 1
    text = result.out + result.err
    assert "hush" not in text
    assert "Connection refused" in text or "can't be reached" in text or "Connect call failed" in text
    if args[0] not in ("status", "check"):
        assert result.err.startswith("crossdock: ")
        assert result.err.count("\n") == 1


async def test_up_says_at_once_that_its_port_is_taken(tmp_path: Path) -> None:
    other = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    began = time.monotonic()
    result = await Shell(tmp_path)("up", "--port", str(port), "--state", "state")
    other.close()
    assert result.code == 1
    assert (
        result.err
        == f"crossdock: can't listen on 127.0.0.1:{port}: Address already in use; choose another with --port\n"
    )
    assert time.monotonic() - began < 10
    assert not (tmp_path / "state").exists(), "no server was started before"


@asynccontextmanager
async def process(shell: Shell, *args: str, admins: int = 1) -> AsyncIterator[list[str]]:
    """One of our processes, ready: its admin URLs. It must end with 0 when asked to."""
    ports = free_ports(admins)
    running = await shell.start(*args, "--admin-port", str(ports[0]))
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    try:
        async with aiohttp.ClientSession() as session:
            for url in urls:

                async def ready(url: str = url) -> bool:
                    assert running.returncode is None
                    try:
                        async with session.get(f"{url}/readyz") as answer:
                            return answer.status == 200
                    except aiohttp.ClientError:
                        return False

                await pipeline.until(ready, what=f"{args} is ready")
        yield urls
    finally:
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            _, err = await running.communicate()
    assert running.returncode == 0, err.decode()[-2000:]


def free_ports(count: int) -> list[int]:
    """Ports in a row that nobody listens on now."""
    first = 0
    while True:
        sockets = [socket.socket() for _ in range(count)]
        try:
            for n, listener in enumerate(sockets):
                listener.bind(("127.0.0.1", first and first + n))
                first = first or listener.getsockname()[1]
            return [first + n for n in range(count)]
        except (OSError, OverflowError):
            first = 0
        finally:
            for listener in sockets:
                listener.close()


async def test_each_process_alone_as_containers_start_them(shell: Shell, database: asyncpg.Connection) -> None:
    (shell.folder / "crossdock.toml").write_text("[ingress]\nprocesses = 2\n")
    (port,) = free_ports(1)
    async with (
        process(shell, "ingress", "--port", str(port), admins=2) as ingresses,
        process(shell, "worker", "store"),
        process(shell, "worker", "route"),
    ):
        result = await shell("send", "apicbase", "purchase_order", "--count", "40", "--url", f"http://127.0.0.1:{port}")
        assert result.code == 0, result.out + result.err

        async def stored() -> bool:
            return bool(await database.fetchval("SELECT count(*) FROM crossdock.orders") >= 40)

        await pipeline.until(stored, what="40 orders")
        async with aiohttp.ClientSession() as session:
            for admin in ingresses:
                async with session.get(f"{admin}/healthz") as answer:
                    assert answer.status == 200


async def test_route_explain_reads_the_rules(shell: Shell) -> None:
    (shell.folder / "order.json").write_bytes(registry.example("ustore", "manufacturer_allocation"))
    result = await shell("route", "explain", "--account", "printshop", "order.json")
    assert result.code == 0, result.err
    assert "static1 to the annex: no, " in result.out
    assert "static1 to the annex: matches" in result.out
    as_json = await shell("route", "explain", "--account", "printshop", "order.json", "--json")
    assert [(entry["item"], entry["manufacturer"]) for entry in as_json.json] == [("3087", "2"), ("3088", "1")]


async def test_export_is_what_apply_declares(shell: Shell) -> None:
    assert (await shell("topology", "export", "--vhost", "v")).json == definitions.export("v")


async def test_a_closed_pipe_ends_the_output_without_a_traceback(shell: Shell) -> None:
    running = await shell.start("topology", "export")
    assert running.stdout is not None
    assert running.stderr is not None
    await running.stdout.read(1)
    running.stdout._transport.close()  # type: ignore[attr-defined]
    err = await running.stderr.read()
    await running.wait()
    assert b"Traceback" not in err
