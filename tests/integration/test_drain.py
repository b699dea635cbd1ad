"""SIGTERM: what is in hand is finished if it can be within `[process] drain_timeout`, and is not lost if it can't."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec

from broker import topology as broker
from deploy import process
from schemas import topology
from schemas.config import Process
from tests.support import pipeline
from tests.support.shell import Shell

HELD = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'crossdock.documents'::regclass"


async def logged(worker: asyncio.subprocess.Process, message: str) -> None:
    """Reads the log up to a line."""
    assert worker.stderr is not None
    async for line in worker.stderr:
        if json.loads(line)["message"] == message:
            return
    raise AssertionError(f"it ended without {message!r}")


@asynccontextmanager
async def held_up(
    shell: Shell, amqp_url: str, database: asyncpg.Connection, *, drain: float
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncpg.transaction.Transaction]]:
    """A store worker amid a write that waits for a lock, and the transaction that has it."""
    (shell.folder / "crossdock.toml").write_text(f"[process]\ndrain_timeout = {drain}\n")
    lock = database.transaction()
    worker = await shell.start("worker", "store", "--admin-port", "0")
    try:
        await logged(worker, "started")
        await pipeline.until(lambda: _consumed(amqp_url))  # it has seen that the database is available
        await lock.start()
        await database.execute("LOCK TABLE crossdock.documents IN ACCESS EXCLUSIVE MODE")
        async with pipeline.door(amqp_url) as door:
            assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
        await pipeline.until(lambda: _held(database))
        yield worker, lock
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.communicate()


async def _held(database: asyncpg.Connection) -> bool:
    return bool(await database.fetchval(HELD))


async def _consumed(amqp_url: str) -> bool:
    return (await broker.depths(amqp_url))[topology.STORE][1] == 1


async def waiting(amqp_url: str) -> int:
    return (await broker.depths(amqp_url))[topology.STORE][0]


async def test_a_drain_finishes_the_messages_in_progress(
    shell: Shell, amqp_url: str, database: asyncpg.Connection
) -> None:
    async with held_up(shell, amqp_url, database, drain=20) as (worker, lock):
        worker.send_signal(signal.SIGTERM)
        await logged(worker, "draining")
        await lock.rollback()
        async with asyncio.timeout(20):
            assert await worker.wait() == 0
    assert await database.fetchval("SELECT count(*) FROM crossdock.events") == 1
    assert await waiting(amqp_url) == 0


async def test_a_blocked_drain_ends_in_time_and_the_message_is_redelivered(
    shell: Shell, amqp_url: str, database: asyncpg.Connection
) -> None:
    async with held_up(shell, amqp_url, database, drain=0.3) as (worker, lock):
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await worker.wait()
        assert 0.3 <= time.monotonic() - began < 0.3 + process.CLOSE_TIMEOUT + 2
        await lock.rollback()
    await pipeline.until(lambda: _is_back(amqp_url))
    assert await database.fetchval("SELECT count(*) FROM crossdock.events") == 0


async def _is_back(amqp_url: str) -> bool:
    return await waiting(amqp_url) == 1


STUCK = """
import asyncio, sys
from deploy import process

class Stuck:
    async def start(self): ...
    async def stop(self):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue
    def problems(self): return []
    def reload(self, config): ...

process.CLOSE_TIMEOUT = 0.1
sys.exit(process.run("stuck", lambda config: Stuck(), admin_port=0))
"""
"""A process whose component never stops, not even when it is cancelled."""


async def test_a_process_that_does_not_stop_in_time_is_ended(tmp_path: Path) -> None:
    (tmp_path / "crossdock.toml").write_text("[process]\ndrain_timeout = 0.1\n")
    stuck = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STUCK, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    try:
        await logged(stuck, "started")
        stuck.send_signal(signal.SIGTERM)
        await logged(stuck, "the component did not stop in time, ending the process")
        async with asyncio.timeout(10):
            assert await stuck.wait() == 1
    finally:
        if stuck.returncode is None:
            stuck.kill()
        await stuck.communicate()


async def test_a_drain_does_not_wait_for_answers_that_cannot_be_recorded(amqp_url: str) -> None:
    settings = msgspec.structs.replace(pipeline.config(), process=Process(drain_timeout=0.2))
    worker = pipeline.route(amqp_url, settings)
    async with pipeline.door(amqp_url) as door, pipeline.running(worker):
        await worker._publish_connection.stop()
        post = asyncio.create_task(door.post("ustore", "manufacturer_allocation"))
        await pipeline.until(lambda: worker._tasks)
        async with asyncio.timeout(10):
            await worker.stop()
        assert (await post)[0] == 503
    queue = topology.reply_queue("ustore")
    assert (await broker.depths(amqp_url))[queue][0] == 1
