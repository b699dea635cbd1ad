"""uStore's shoppers under load and under trouble: every answer right, each its own, and none that hangs."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiormq
import asyncpg
from yarl import URL

from deploy.local.children import end, free_ports, spawn
from tests.faults.proxy import Proxy
from tests.support import pipeline
from tests.support.pipeline import RunningIngress, door, running, until

ROOT = Path(__file__).parents[2]
SECRET = "the-signature-key"
RULES = """
[accounts.ustore.printshop]
secrets = ["the-signature-key"]
answer_timeout = {timeout}
fallback = "refuse"
[[accounts.ustore.printshop.manufacturers]]
id = "2"
name = "test2 Manufacturer"
[[accounts.ustore.printshop.manufacturers]]
id = "5"
name = "Five"
[[accounts.ustore.printshop.manufacturers]]
id = "7"
name = "Seven"
[[accounts.ustore.printshop.rules]]
name = "all"
{rule}
"""
SPLIT = 'split = { "2" = 50, "5" = 50 }'


def settings(tmp_path: Path, *, timeout: float = 2.0, rule: str = SPLIT) -> Path:
    """Write a configuration file, and return its path."""
    file = tmp_path / "crossdock.toml"
    file.write_text(RULES.format(timeout=timeout, rule=rule))
    return file


def worker(amqp_url: str, file: Path) -> Any:
    """A route worker in a process of its own."""
    env = {**os.environ, "AMQP_URL": amqp_url, "CROSSDOCK_CONFIG": str(file), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "deploy.cli.main", "worker", "route", "--admin-port", str(free_ports(1)[0])]
    return spawn(command, env=env, log=file.parent / "route.log")


def order(name: str, items: int = 3) -> bytes:
    """An order of its own, with items of its own."""
    products = [{"@id": f"{name}-{n}", "@OrderProductId": str(n)} for n in range(items)]
    return json.dumps({"Order": {"@OrderId": name, "OrderProducts": {"OrderProduct": products}}}).encode()


async def ask(hook: RunningIngress, name: str) -> tuple[int, dict[str, str]]:
    """Status and answer; the signature is over the very bytes."""
    status, body, headers = await hook.post("ustore", "manufacturer_allocation", order(name))
    expected = base64.b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha512)).decode()
    assert headers["X-Signature"] == expected
    return status, json.loads(body)


def right(name: str, answer: dict[str, str], among: tuple[str, ...] = ("2", "5")) -> bool:
    return list(answer) == [f"{name}-{n}" for n in range(3)] and set(answer.values()) <= set(among)


async def consumers(amqp_url: str) -> int:
    connection = await aiormq.connect(amqp_url)
    try:
        channel = await connection.channel()
        return (await channel.queue_declare("crossdock.route.ustore", passive=True)).consumer_count or 0
    finally:
        await connection.close()


async def test_sixty_concurrent_requests_each_get_their_own_answer(
    amqp_url: str, database_url: str, database: asyncpg.Connection, tmp_path: Path
) -> None:
    loaded = pipeline.load(settings(tmp_path))
    async with (
        door(amqp_url, loaded) as hook,
        running(pipeline.route(amqp_url, loaded), pipeline.store(amqp_url, database_url, loaded)),
    ):
        names = [f"o{n}" for n in range(60)]
        first = await asyncio.gather(*(ask(hook, name) for name in names))
        for name, (status, answer) in zip(names, first, strict=True):
            assert status == 200
            assert right(name, answer)
        again = await asyncio.gather(*(ask(hook, name) for name in names))
        assert again == first
        await until(lambda: database.fetchval("SELECT count(*) = 180 FROM crossdock.allocations"))
        rows = await database.fetch("SELECT order_product_id, manufacturer_id FROM crossdock.allocations")
        answered = {item: maker for _, answer in first for item, maker in answer.items()}
        assert {row["order_product_id"]: row["manufacturer_id"] for row in rows} == answered


async def test_killing_a_worker_under_load_affects_only_its_own_requests(
    amqp_url: str, database_url: str, database: asyncpg.Connection, tmp_path: Path
) -> None:
    file = settings(tmp_path)
    loaded = pipeline.load(file)
    async with door(amqp_url, loaded) as hook:
        first, second = worker(amqp_url, file), worker(amqp_url, file)
        try:
            await until(lambda: _is(consumers(amqp_url), 2))
            results: dict[str, tuple[int, dict[str, str]]] = {}
            names = iter(range(600))

            async def shopper() -> None:
                for n in names:
                    async with asyncio.timeout(2.0 + 1.0):  # the answer's time-out, and a little
                        results[f"s{n}"] = await ask(hook, f"s{n}")
                    if n == 200:
                        first.kill()

            await asyncio.gather(*(shopper() for _ in range(10)))
            first.wait()
            after = await asyncio.gather(*(ask(hook, f"after{n}") for n in range(30)))
        finally:
            await end(second, signal.SIGTERM, 10)
            with suppress(ProcessLookupError):
                first.kill()
        assert {status for status, _ in after} == {200}
        wrong = [name for name, (status, answer) in results.items() if status == 200 and not right(name, answer)]
        failed = [name for name, (status, answer) in results.items() if status != 200]
        assert wrong == []
        assert {results[name][0] for name in failed} <= {503}
        assert len(failed) <= 10  # no more than one a shopper: what the killed one had in its hands
        assert len(hook.app._replies) == 0
        async with running(pipeline.store(amqp_url, database_url, loaded)):
            answered = {name for name, (status, _) in results.items() if status == 200}
            await until(lambda: _covers(database, answered))


async def _is(value: Any, expected: int) -> bool:
    return bool(await value == expected)


async def _covers(database: asyncpg.Connection, names: set[str]) -> bool:
    rows = await database.fetch("SELECT DISTINCT order_id FROM crossdock.allocations")
    return names <= {row["order_id"] for row in rows}


async def test_a_stalled_worker_is_503_at_the_deadline_and_late_requests_are_dropped(
    amqp_url: str, tmp_path: Path
) -> None:
    file = settings(tmp_path, timeout=0.5)
    async with door(amqp_url, pipeline.load(file)) as hook:
        process = worker(amqp_url, file)
        try:
            await until(lambda: _is(consumers(amqp_url), 1))
            assert (await ask(hook, "before"))[0] == 200
            process.send_signal(signal.SIGSTOP)
            started = time.monotonic()
            async with asyncio.timeout(1.5):
                status, body, headers = await hook.post("ustore", "manufacturer_allocation", order("stalled"))
            assert (status, headers["Retry-After"]) == (503, "5")
            assert set(json.loads(body)) == {"message"}
            assert len(hook.app._replies) == 0
            # Nobody waits any more once it has lain there for longer than the time-out, by any clock.
            await until(lambda: time.monotonic() - started > 1.0)
            process.send_signal(signal.SIGCONT)
            assert (await ask(hook, "after"))[0] == 200
        finally:
            process.send_signal(signal.SIGCONT)
            await end(process, signal.SIGTERM, 10)
    lines = [json.loads(line) for line in (tmp_path / "route.log").read_text().splitlines() if line.startswith("{")]
    assert [line["reason"] for line in lines if line["message"] == "not answered"] == ["late"]


async def test_a_lost_connection_ends_waiting_requests_at_once(amqp_url: str, tmp_path: Path) -> None:
    """No worker answers, and shoppers would wait for two minutes: the answer could not arrive any more."""
    loaded = pipeline.load(settings(tmp_path, timeout=10.0))
    async with door(amqp_url, loaded) as hook:
        waiting = [asyncio.create_task(ask(hook, f"w{n}")) for n in range(20)]
        await until(lambda: len(hook.app._replies) == 20)
        await until(lambda: hook.app._publisher.outstanding == 0)
        hook.app._link.fail("cut by a test")
        async with asyncio.timeout(2.0):
            answers = await asyncio.gather(*waiting)
        assert [status for status, _ in answers] == [503] * 20
        assert len(hook.app._replies) == 0
        async with running(pipeline.route(amqp_url, loaded)):
            await until(lambda: hook.app.problems() == [])
            assert (await ask(hook, "works again"))[0] == 200


async def test_requests_unconfirmed_at_a_lost_connection_are_answered(amqp_url: str, tmp_path: Path) -> None:
    """It is sent again on the next connection, and the answer comes through that one."""
    loaded = pipeline.load(settings(tmp_path, timeout=10.0))
    behind = URL(amqp_url)
    proxy = Proxy(str(behind.host), int(behind.port or 0))
    await proxy.start()
    try:
        async with (
            running(pipeline.route(amqp_url, loaded)),
            door(str(behind.with_port(proxy.port)), loaded) as hook,
        ):
            assert (await ask(hook, "before"))[0] == 200
            proxy.stall()
            waiting = [asyncio.create_task(ask(hook, f"w{n}")) for n in range(20)]
            await until(lambda: hook.app._publisher.outstanding == 20)
            proxy.cut()
            proxy.heal()
            answers = await asyncio.gather(*waiting)
            assert [status for status, _ in answers] == [200] * 20
            assert len(hook.app._replies) == 0
    finally:
        await proxy.stop()


async def test_rules_are_replaced_atomically(amqp_url: str, tmp_path: Path) -> None:
    """Orders of three items while the rules change: each is wholly by the old ones or wholly by the new."""
    file = settings(tmp_path, rule='manufacturer = "2"')
    async with door(amqp_url, pipeline.load(file)) as hook:
        process = worker(amqp_url, file)
        try:
            await until(lambda: _is(consumers(amqp_url), 1))
            answers: list[tuple[int, dict[str, str]]] = []

            async def until_it_says(maker: str, name: str) -> None:
                async def says() -> bool:
                    answers.extend(await asyncio.gather(*(ask(hook, f"{name}{len(answers)}x{n}") for n in range(10))))
                    return set(answers[-1][1].values()) == {maker}

                await until(says)

            for maker in ("7", "5", "2"):
                settings(tmp_path, rule=f'manufacturer = "{maker}"')
                process.send_signal(signal.SIGHUP)
                await until_it_says(maker, f"to{maker}")
            settings(tmp_path, rule='manufacturer = "nobody"')
            process.send_signal(signal.SIGHUP)
            log = tmp_path / "route.log"
            await until(lambda: "reload refused" in log.read_text())
            await until_it_says("2", "still")
        finally:
            await end(process, signal.SIGTERM, 10)
    assert {status for status, _ in answers} == {200}
    assert all(len(set(answer.values())) == 1 and len(answer) == 3 for _, answer in answers)
