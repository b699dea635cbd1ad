"""The attacks on every reader and on running processes. They raise AssertionError on a fault."""

import importlib.util
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from broker import topology
from broker.commands import connected
from deploy import config as configuration
from ingress.hooks.request import UNCONFIRMED
from schemas.config import Config
from schemas.topology import EVENTS_LOG
from tests.attacks import http, parsers, processes, raw
from tests.attacks.mutate import Mutator
from tests.support import pipeline, receiver

SLOWEST = 5.0
"""Maximum seconds for one input; a longer time counts as a hang."""
GROWTH = 48 * 1024 * 1024
"""Bytes by which a process may grow after a tenth of the inputs, because of caches and the allocator."""
BATCH = 5_000
"""Posts after which the queue is emptied, so that the broker's disk does not fill."""
LOGINS = (
    "Authorization: Basic Ym9hcmRzOmIwYXJkcy1wYXNzd29yZA==",
    "Authorization: Bearer operator-token-of-the-attacked",
)
"""boards:b0ards-password, and the operator. A hundred mutated log-ins block a subscriber's name."""

CONFIG = """
[ingress]
header_timeout = 1.0
body_timeout = 1.0
write_timeout = 1.0
[accounts.apicbase.acme]
secrets = ["apicbase-key-of-the-attacked"]
verdict_timeout = 0.05
[accounts.channelape.rothys]
keys = [{ name = "token", secret = "channelape-key-of-the-attacked" }]
[accounts.ecomnow.shop]
authorizations = ["Basic ZWNvbW5vdzphdHRhY2tlZA=="]
[accounts.ustore.printshop]
secrets = ["ustore-key-of-the-attacked"]
answer_timeout = 0.05
[api]
operator_token = "operator-token-of-the-attacked"
[subscribers.boards]
username = "boards"
password = "b0ards-password"
accounts = ["*/*"]
"""


class Done(NamedTuple):
    """The result of one attack."""

    what: str
    inputs: int
    seconds: float
    note: str


def guided() -> bool:
    """Return whether atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def parse(target: parsers.Target, count: int, seed: int = 0) -> Done:
    """Give a reader `count` inputs, by mutation alone. Raises AssertionError that shows the input."""
    make, began, slowest = Mutator(target.seeds, seed), time.perf_counter(), 0.0
    for _ in range(count):
        data, before = make(), time.perf_counter()
        try:
            target.read(data)
        except Exception as error:
            raise AssertionError(f"{target.name}: {data!r}\n{traceback.format_exc()}") from error
        slowest = max(slowest, time.perf_counter() - before)
    assert slowest < SLOWEST, f"{target.name}: an input took {slowest:.1f} s"
    return Done(target.name, count, time.perf_counter() - began, f"slowest {slowest * 1000:.0f} ms")


def parse_guided(target: parsers.Target, count: int, seconds: float) -> Done:
    """Give a reader `count` inputs, guided by coverage, in a process of its own. Raises AssertionError."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.attacks.guided", target.name, str(count), folder]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=parsers.ROOT)
    output = [line for line in (ran.stdout + ran.stderr).splitlines() if not line.startswith("INFO: Instrumenting")]
    assert ran.returncode == 0, f"{target.name}: " + "\n".join(output)[:4000]
    return Done(target.name, count, time.perf_counter() - began, "by coverage")


def written(folder: Path) -> tuple[Path, Config]:
    """Write the configuration of the attacked processes; return the file and its content."""
    file = folder / "attacked.toml"
    file.write_text(CONFIG)
    return file, configuration.load(file)


@asynccontextmanager
async def ingress(folder: Path, amqp_url: str) -> AsyncIterator[tuple[processes.Process, Config]]:
    """Run an ingress and no worker, so that uStore's posts are soon answered 503."""
    file, config = written(folder)
    env = {"AMQP_URL": amqp_url}
    async with processes.running("ingress", folder=folder, env=env, config=file) as process:
        yield process, config


@asynccontextmanager
async def api(folder: Path, database_url: str) -> AsyncIterator[processes.Process]:
    file, _ = written(folder)
    env = {"DATABASE_URL": database_url, "CROSSDOCK_ENCRYPTION_KEY": receiver.KEY}
    async with processes.running("api", folder=folder, env=env, config=file) as process:
        yield process


async def attack_ingress(folder: Path, amqp_url: str, count: int) -> Done:
    """Attack the ingress with mutated requests, and with signed ones with mutated bodies."""
    async with ingress(folder, amqp_url) as (process, config), aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{process.port}{raw.hook(config)}"

        async def healthy() -> None:
            async with session.post(url, data=b"{}") as answer:
                assert answer.status == 200, await answer.text()

        async def empty() -> None:
            async with connected(amqp_url) as connection:
                channel = await connection.channel()
                for queue in await topology.depths(amqp_url):
                    if queue != EVENTS_LOG:  # a stream: none of ours gets there
                        await (await channel.get_queue(queue)).purge()

        makers: list[Callable[[], bytes]] = [Mutator(http.hooks(config)), http.signed_mutants(config)]
        done = await _attack(process, makers, count, healthy, empty)
        assert await process.metric("crossdock_refused_total", reason="internal error") == 0

        def refused() -> list[str]:
            return [line for line in process.log.read_text().splitlines() if '"reason":"broker' in line]

        async def every_refusal_is_logged() -> bool:
            return await process.metric("crossdock_refused_total", reason="broker") == len(refused())

        await pipeline.until(every_refusal_is_logged)
        # The timeouts above are shorter than a confirm on a slow disk, so only the other refusals are an input's doing.
        assert [line for line in refused() if UNCONFIRMED not in line] == []
        return done


async def attack_api(folder: Path, database_url: str, count: int) -> Done:
    """Attack the API with mutated requests, most of them with valid credentials."""
    async with api(folder, database_url) as process, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{process.port}/v1/openapi.json"

        async def healthy() -> None:
            async with session.get(url) as answer:
                assert answer.status == 200, await answer.text()

        async def nothing() -> None:
            pass

        makers = [Mutator(http.api_requests(*LOGINS))]
        done = await _attack(process, makers, count, healthy, nothing)
        for status in ("500", "503"):
            failed = await process.metric("crossdock_api_requests_total", status=status)
            assert failed == 0, process.log.read_text()[-3000:]
        return done


async def _attack(
    process: processes.Process,
    makers: Sequence[Callable[[], bytes]],
    count: int,
    healthy: Callable[[], Awaitable[None]],
    between: Callable[[], Awaitable[None]],
) -> Done:
    attack, began = http.Attack(process.port), time.perf_counter()
    await attack(makers, max(1, count // 10), healthy)
    settled, left = process.resident, count - max(1, count // 10)
    while left > 0:
        await attack(makers, min(BATCH, left), healthy)
        await between()
        left -= BATCH
    await healthy()
    grown = process.resident - settled
    assert attack.wrong == {}, f"{process.name}: {attack.wrong!r}"
    assert process.alive
    log = process.log.read_text(errors="replace")
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4000]
    assert "request failed" not in log, log[-4000:]
    assert grown < GROWTH, f"{process.name} grew by {grown / 1e6:.0f} MB"
    counts = ", ".join(f"{status or 'none'}: {number:,}" for status, number in sorted(attack.statuses.items()))
    note = f"{counts}; grew by {grown / 1e6:.1f} MB to {process.resident / 1e6:.0f} MB"
    return Done(f"{process.name}: requests", count, time.perf_counter() - began, note)
