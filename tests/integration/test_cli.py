"""The command line as people use it: a process of its own, against real servers."""

import asyncio
import base64
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from broker import topology
from deploy.admin import Admin
from deploy.local.postgres import Postgres
from schemas import registry
from tests import pipeline

NOWHERE = {"AMQP_URL": "amqp://user:hush@127.0.0.1:1/", "DATABASE_URL": "postgresql://user:hush@127.0.0.1:1/db"}
WAITING = "SELECT count(*) FROM crossdock.quarantine WHERE replayed_at IS NULL AND discarded_at IS NULL"
BROKEN = b'{"type": "new_order" \xff [bold]'


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs commands in a folder, with the servers in the environment."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.env = {"PATH": os.environ["PATH"], **env}

    async def start(self, *args: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deploy.cli.main", *args,
            cwd=self.folder, env=self.env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def __call__(self, *args: str) -> Said:
        process = await self.start(*args)
        async with asyncio.timeout(40):
            out, err = await process.communicate()
        assert process.returncode is not None
        assert "Traceback" not in err.decode()
        return Said(process.returncode, out.decode(), err.decode())


@pytest.fixture
def shell(tmp_path: Path, amqp_url: str, database_url: str) -> Shell:
    return Shell(tmp_path, AMQP_URL=amqp_url, DATABASE_URL=database_url)


@pytest_asyncio.fixture
async def url(amqp_url: str, database_url: str) -> AsyncIterator[str]:
    """A running pipeline's ingress."""
    async with (
        pipeline.running(pipeline.store(amqp_url, database_url), pipeline.route(amqp_url)),
        pipeline.door(amqp_url) as door,
    ):
        yield f"http://127.0.0.1:{door.app.port}"


@pytest_asyncio.fixture
async def empty_database_url(postgres: Postgres) -> AsyncIterator[str]:
    name, base = f"empty_{uuid4().hex}", postgres.url.rsplit("/", 1)[0]
    connection = await asyncpg.connect(f"{base}/postgres")
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield f"{base}/{name}"
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


async def quarantined(shell: Shell, database: asyncpg.Connection, count: int) -> list[dict[str, Any]]:
    """`quarantine list`, once so many wait."""

    async def there() -> bool:
        return bool(await database.fetchval(WAITING) == count)

    await pipeline.until(there, what=f"{count} in quarantine")
    found: list[dict[str, Any]] = (await shell("quarantine", "list", "--json")).json
    assert len(found) == count
    return found


async def test_set_up_from_nothing(tmp_path: Path, empty_amqp_url: str, empty_database_url: str) -> None:
    shell = Shell(tmp_path, AMQP_URL=empty_amqp_url, DATABASE_URL=empty_database_url)
    missing = await shell("topology", "check")
    assert missing.code == 1
    assert "crossdock.store is missing: run `crossdock topology apply`" in missing.err
    assert (
        await shell("trace", "1")
    ).err == "crossdock: the database's schema is missing or old: run `crossdock migrate`\n"
    checked = await shell("check", "--json")
    assert checked.code == 1
    assert {one["what"] for one in checked.json if not one["ok"]} == {"rabbitmq", "postgresql"}
    assert "run `crossdock migrate`" in checked.out
    assert (await shell("topology", "apply")).code == 0
    applied = await shell("migrate", "--json")
    assert applied.json["applied"][0] == "0001_tables"
    assert (await shell("migrate")).out == "nothing to apply: the schema is up to date\n"
    assert await shell("topology", "check") == (0, "exchanges and queues are as they should be\n", "")
    checked = await shell("check")
    assert checked.code == 0, checked.out
    assert checked.out.count(" ok") == 5


async def test_send_one_and_trace_it(shell: Shell, url: str) -> None:
    said = await shell("send", "ustore", "manufacturer_allocation", "--url", url)
    assert said.code == 0, said.err
    assert said.out.startswith("200 in ")
    assert said.out.endswith('{"3087":"2","3088":"1"}\n')

    async def traced() -> Said | None:
        found = await shell("trace", "5295")
        return found if "queued" in found.out and "manufacturer_order" in found.out else None

    told = (await pipeline.until(traced, what="the order's life")).out
    assert told.splitlines()[0].split() == ["ustore.manufacturer_allocation", "5295", "(ustore/printshop)"]
    for line in (
        "item 3087 to manufacturer 2 by fallback: product",
        "item 3088 to manufacturer 1 by static1 to the annex",
        "ustore.manufacturer_order.printshop.2 on crossdock.events",
    ):
        assert line in told
    as_json = (await shell("trace", "5295", "--json")).json
    (document,) = as_json["documents"]
    message = document["receipts"][0]["message_id"]
    assert {one["routing_key"] for one in document["messages"]} >= {"ustore.manufacturer_allocation.printshop"}
    for name in (message, document["versions"][0]["id"]):
        assert (await shell("trace", name)).out == told


async def test_trace_of_what_never_came(shell: Shell) -> None:
    said = await shell("trace", "nothing")
    assert said.code == 1
    assert said.err.startswith("crossdock: nothing is known of 'nothing'")


async def test_send_many_loses_none(shell: Shell, url: str, database: asyncpg.Connection) -> None:
    said = await shell("send", "channelape", "receipt_confirmation", "--count", "500", "--url", url, "--json")
    assert said.code == 0, said.err
    assert said.json["statuses"] == {"200": 500}
    assert 0 < said.json["latency_ms"]["p50"] <= said.json["latency_ms"]["max"]

    async def stored() -> bool:
        return bool(await database.fetchval("SELECT count(DISTINCT key) FROM crossdock.events") == 500)

    await pipeline.until(stored, what="500 rows")


async def test_send_the_same_again_and_again(shell: Shell, url: str, database: asyncpg.Connection) -> None:
    said = await shell("send", "ecomnow", "order_cancellation", "--same", "--count", "30", "--url", url)
    assert said.code == 0, said.err
    assert said.out.splitlines()[1].split() == ["200", "30"]

    async def times() -> bool:
        rows = await database.fetch("SELECT type, key, times_received FROM crossdock.events")
        return [tuple(row) for row in rows] == [("ecomnow.order_cancellation", "1000-4612", 30)]

    await pipeline.until(times, what="one row, received 30 times")


async def test_send_keeps_to_a_rate(shell: Shell, url: str) -> None:
    said = await shell("send", "apicbase", "purchase_order", "--count", "20", "--rate", "40", "--url", url, "--json")
    assert said.json["seconds"] >= 19 / 40
    assert said.json["statuses"] == {"200": 20}


async def test_send_says_what_was_refused(shell: Shell, url: str) -> None:
    (shell.folder / "crossdock.toml").write_text(
        '[accounts.channelape.rothys]\nkeys = [{name = "token", secret = "stale"}]\n'
    )
    said = await shell("send", "channelape", "ship_confirmation", "--count", "3", "--url", url)
    assert said.code == 1
    assert said.out.splitlines()[1].split() == ["401", "3"]
    assert "first that was not accepted: 401 {" in said.out
    assert "stale" not in said.out + said.err


async def test_send_a_file_of_your_own(shell: Shell, url: str, database: asyncpg.Connection) -> None:
    body = registry.example("apicbase", "purchase_order").replace(b"PO", b"PX")
    (shell.folder / "order.json").write_bytes(body)
    assert (await shell("send", "apicbase", "purchase_order", "--file", "order.json", "--url", url + "/")).code == 0

    async def raw() -> bool:
        return bool(await database.fetchval("SELECT raw FROM crossdock.events") == body)

    await pipeline.until(raw, what="the file's bytes")


async def test_quarantine_from_list_to_discard(shell: Shell, url: str, database: asyncpg.Connection) -> None:
    (shell.folder / "broken.json").write_bytes(BROKEN)
    for event in ("ship_confirmation", "receipt_confirmation"):
        assert (await shell("send", "channelape", event, "--file", "broken.json", "--url", url)).code == 0
    first, second = (one["id"] for one in await quarantined(shell, database, 2))
    listed = (await shell("quarantine", "list")).out
    assert first in listed
    assert "channelape/rothys" in listed

    shown = await shell("quarantine", "show", first)
    assert "reason" in shown.out
    assert '{"type": "new_order" \\xff [bold]' in shown.out
    assert base64.b64decode((await shell("quarantine", "show", first, "--json")).json["raw_base64"]) == BROKEN
    assert (await shell("trace", first)).out.startswith("quarantine  channelape/rothys receipt_confirmation")

    assert (await shell("quarantine", "discard", first)).out == "1 discarded\n"
    again = await shell("quarantine", "discard", first)
    assert again.code == 1
    assert f"not waiting in quarantine: {first}" in again.err
    assert [one["id"] for one in await quarantined(shell, database, 1)] == [second]
    assert len((await shell("quarantine", "list", "--all", "--json")).json) == 2


async def test_a_replay_gives_back_the_very_message(shell: Shell, url: str, database: asyncpg.Connection) -> None:
    """A message that can be read today is stored, under its own id and the time when it was received."""
    id_, raw = UUID(int=7 << 64 | 7 << 76), registry.example("channelape", "ship_confirmation")
    await database.execute(
        "INSERT INTO crossdock.quarantined"
        " (id, received_at, platform, account, event, reason, content_type, traceparent, raw)"
        " VALUES ($1, now() - interval '3 hours', 'channelape', 'rothys', 'ship_confirmation', 'a bug of ours',"
        " 'application/json', $2, $3)",
        id_, f"00-{'a' * 32}-{'b' * 16}-01", raw,
    )  # fmt: skip
    assert (await shell("quarantine", "replay", str(id_))).out == "1 replayed\n"

    async def stored() -> asyncpg.Record | None:
        return await database.fetchrow("SELECT * FROM crossdock.events WHERE message_id = $1", id_)

    row = await pipeline.until(stored, what="the replayed message's row")
    waiting = await database.fetchrow("SELECT * FROM crossdock.quarantine WHERE id = $1", id_)
    assert waiting is not None
    assert waiting["replayed_at"] is not None
    assert row["received_at"] == waiting["received_at"]
    assert (row["raw"], row["content_type"], row["traceparent"]) == (
        raw,
        "application/json",
        f"00-{'a' * 32}-{'b' * 16}-01",
    )
    assert (await shell("quarantine", "list")).out == "nothing in quarantine\n"


async def test_what_fails_again_is_back_on_the_list(shell: Shell, url: str, database: asyncpg.Connection) -> None:
    (shell.folder / "broken.json").write_bytes(BROKEN)
    assert (await shell("send", "ecomnow", "new_order", "--file", "broken.json", "--url", url)).code == 0
    (before,) = await quarantined(shell, database, 1)
    stored_at = await database.fetchval("SELECT stored_at FROM crossdock.quarantined")
    assert (await shell("quarantine", "replay", "--all", "--json")).json == {"replayed": [before["id"]]}

    async def back() -> bool:
        row = await database.fetchrow("SELECT replayed_at, stored_at FROM crossdock.quarantined")
        return row is not None and row["replayed_at"] is None and row["stored_at"] >= stored_at

    await pipeline.until(back, what="the message back in quarantine")
    assert [one["id"] for one in await quarantined(shell, database, 1)] == [before["id"]]


async def test_a_replay_of_something_unknown_replays_nothing(shell: Shell) -> None:
    said = await shell("quarantine", "replay", str(UUID(int=1)))
    assert said.code == 1
    assert said.err == f"crossdock: not in quarantine: {UUID(int=1)}; nothing was replayed\n"


async def test_a_replay_that_nobody_confirms_stays_on_the_list(
    tmp_path: Path, empty_amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    await database.execute(
        "INSERT INTO crossdock.quarantined (id, received_at, platform, account, event, reason, raw)"
        " VALUES ($1, now(), 'channelape', 'rothys', 'ship_confirmation', 'why', 'raw')",
        UUID(int=3),
    )
    shell = Shell(tmp_path, AMQP_URL=empty_amqp_url, DATABASE_URL=database_url)
    said = await shell("quarantine", "replay", "--all")
    assert said.code == 1
    assert said.err.startswith("crossdock: 0 of 1 replayed, then: ")
    assert await database.fetchval("SELECT replayed_at FROM crossdock.quarantined") is None


async def test_status_of_a_running_up(shell: Shell, amqp_url: str, database_url: str) -> None:
    """As `up` writes its endpoints: one process that is ready, one that isn't, one that has ended."""
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    fine, held_up = Admin("127.0.0.1", 0, list), Admin("127.0.0.1", 0, lambda: ["no use of PostgreSQL: away"])
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
        said = await bare("status", "--state", str(state), "--seconds", "0.1")
        as_json = await bare("status", "--state", str(state), "--seconds", "0.1", "--json")
    finally:
        await fine.stop()
        await held_up.stop()
    assert (said.code, as_json.code) == (1, 1)
    states = {one["name"]: one["state"] for one in as_json.json["processes"]}
    assert states == {
        "ingress": "ready",
        "store": "no use of PostgreSQL: away",
        "route": "ended",
        "postgres": "running",
    }
    assert as_json.json["problems"] == ["store: no use of PostgreSQL: away", "route: ended"]
    queues = {one["name"]: (one["messages"], one["consumers"]) for one in as_json.json["queues"]}
    assert queues["crossdock.store"] == (0, 0)
    assert as_json.json["quarantine"] == 0
    assert "crossdock.route.ustore" in said.out
    assert "crossdock: route: ended" in said.err


async def test_status_without_an_up_shows_what_it_can(shell: Shell) -> None:
    said = await shell("status", "--json")
    assert said.code == 0
    assert said.json["processes"] == []
    assert len(said.json["queues"]) == 6


async def test_status_shows_the_rest_when_a_server_is_away(tmp_path: Path, amqp_url: str) -> None:
    said = await Shell(tmp_path, AMQP_URL=amqp_url, DATABASE_URL=NOWHERE["DATABASE_URL"])("status", "--json")
    assert said.code == 1
    assert said.json["quarantine"] is None
    assert said.json["queues"]
    assert said.json["problems"] == [
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
async def test_servers_that_are_away_are_a_line_and_no_password(args: tuple[str, ...], tmp_path: Path) -> None:
    said = await Shell(tmp_path, **NOWHERE)(*args)
    assert said.code == 1
    text = said.out + said.err
    assert "hush" not in text
    assert "Connection refused" in text or "can't be reached" in text or "Connect call failed" in text
    if args[0] not in ("status", "check"):
        assert said.err.startswith("crossdock: ")
        assert said.err.count("\n") == 1


async def test_up_says_at_once_that_its_port_is_taken(tmp_path: Path) -> None:
    other = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    began = time.monotonic()
    said = await Shell(tmp_path)("up", "--port", str(port), "--state", "state")
    other.close()
    assert said.code == 1
    assert (
        said.err == f"crossdock: can't listen on 127.0.0.1:{port}: Address already in use; choose another with --port\n"
    )
    assert time.monotonic() - began < 10
    assert not (tmp_path / "state").exists()


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
            for n, one in enumerate(sockets):
                one.bind(("127.0.0.1", first and first + n))
                first = first or one.getsockname()[1]
            return [first + n for n in range(count)]
        except (OSError, OverflowError):
            first = 0
        finally:
            for one in sockets:
                one.close()


async def test_each_process_alone_as_containers_start_them(shell: Shell, database: asyncpg.Connection) -> None:
    (shell.folder / "crossdock.toml").write_text("[ingress]\nprocesses = 2\n")
    (port,) = free_ports(1)
    async with (
        process(shell, "ingress", "--port", str(port), admins=2) as ingresses,
        process(shell, "worker", "store"),
        process(shell, "worker", "route"),
    ):
        said = await shell("send", "apicbase", "purchase_order", "--count", "40", "--url", f"http://127.0.0.1:{port}")
        assert said.code == 0, said.out + said.err

        async def stored() -> bool:
            return bool(await database.fetchval("SELECT count(*) FROM crossdock.orders") >= 40)

        await pipeline.until(stored, what="40 orders")
        async with aiohttp.ClientSession() as session:
            for admin in ingresses:
                async with session.get(f"{admin}/healthz") as answer:
                    assert answer.status == 200


async def test_route_explain_reads_the_rules(shell: Shell) -> None:
    (shell.folder / "order.json").write_bytes(registry.example("ustore", "manufacturer_allocation"))
    said = await shell("route", "explain", "--account", "printshop", "order.json")
    assert said.code == 0, said.err
    assert "static1 to the annex: no, " in said.out
    assert "static1 to the annex: matches" in said.out
    as_json = await shell("route", "explain", "--account", "printshop", "order.json", "--json")
    assert [(one["item"], one["manufacturer"]) for one in as_json.json] == [("3087", "2"), ("3088", "1")]


async def test_export_is_what_apply_declares(shell: Shell) -> None:
    assert (await shell("topology", "export", "--vhost", "v")).json == topology.export("v")


async def test_a_reader_that_has_seen_enough_is_no_traceback(shell: Shell) -> None:
    running = await shell.start("topology", "export")
    assert running.stdout is not None
    assert running.stderr is not None
    await running.stdout.read(1)
    running.stdout._transport.close()  # type: ignore[attr-defined]
    err = await running.stderr.read()
    await running.wait()
    assert b"Traceback" not in err
