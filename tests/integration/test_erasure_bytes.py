"""An erasure under load, killed in the middle: afterwards no file of the database holds a byte of the person."""

import asyncio
import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import web

from storage import erasure
from tests.support import pipeline
from tests.support.delivering import none_is, store, worker
from tests.support.erasing import traces
from tests.support.pipeline import running, until
from tests.support.receiver import ReceivedRequest, config, receiver, subscribe
from tests.support.shell import Shell
from tests.support.storing import incoming, unreadable
from workers.store import erasures, isolate

RECEIPTS = 600
"""Of the person, before the erasure: it takes many transactions."""


EVENT = ("channelape", "stock_transfer_order")


def holding(folder: Path, texts: list[bytes]) -> Iterator[str]:
    """The files below a folder with any of these bytes.

    Not `pg_wal`: segments of the write-ahead log are recycled without being overwritten at once, which docs/privacy.md
    says, together with what an administrator does who can't wait for that.
    """
    for file in folder.rglob("*"):
        if "pg_wal" not in file.parts and file.is_file():
            content = file.read_bytes()
            if any(text in content for text in texts):
                yield str(file.relative_to(folder))


def body(key: str, name: str, **more: object) -> bytes:
    address = {"name": name, "address1": f"{name} Lane 1", "city": "Nowhere"}
    order = {
        "channelOrderId": key,
        "additionalFields": {"note_attributes_ship_to": f"{name} Lane 1"},
        "customer": {"shippingAddress": address, "email": f"{name}@shopper.example"},
        "lineItems": [{"id": "000011", "sku": "A-1", "quantity": 1, "title": f"for {name}"}],
        **more,
    }
    return json.dumps(order).encode()


async def test_no_byte_is_left_in_any_file(
    memory: Path,
    amqp_url: str,
    database_url: str,
    pool: asyncpg.Pool,
    database: asyncpg.Connection,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(erasure, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(erasure, "SETTLED_SECONDS", 0.5)
    monkeypatch.setattr(erasures, "INTERVAL", 0.1)
    caplog.set_level(logging.DEBUG, "crossdock")
    mark = f"Quill{uuid4().hex[:12]}"
    other = f"Other{uuid4().hex[:12]}"
    settings = config()
    account = next(iter(settings.accounts["channelape"]))
    contents = [body("STO1", mark), body("STO1", mark, n=2)]
    posted = 0

    async with receiver() as subscriber, pipeline.door(amqp_url, settings) as door:

        def echo(got: ReceivedRequest) -> web.Response:
            return web.Response(status=400 if len(subscriber.got) % 2 else 200, body=got.body)

        subscriber.answer = echo
        await subscribe(pool, subscriber.url, schedule=[0.0, 0.05])
        two_stores = [pipeline.store(amqp_url, database_url, settings) for _ in range(2)]
        async with running(*two_stores, worker(database_url, settings)):
            history = [
                incoming(*EVENT, contents[n % 2], seconds=n, number=n + 1, account=account) for n in range(RECEIPTS)
            ]
            for place in range(0, RECEIPTS, 500):
                await store(pool, *history[place : place + 500], settings=settings)
            cut_off = unreadable(contents[0][:-2], f"cut off: {mark}", number=10**6)
            await isolate.write_isolating(pool, [cut_off])
            await database.execute("UPDATE crossdock.quarantined SET platform = 'channelape', account = $1", account)
            await until(lambda: len(subscriber.got) > 100)
            await database.execute("ANALYZE")
            await database.execute("CHECKPOINT")
            before = list(holding(memory / "postgres", [mark.encode()]))
            assert len(before) > 3, "the search finds what is there"

            async def load() -> None:
                """The same person's order and another's, again and again."""
                nonlocal posted
                while True:
                    for raw in (contents[1], body(f"STO-{posted}", other)):
                        status, _, _ = await door.post(*EVENT, raw)
                        assert status == 200
                    posted += 1

            loading = asyncio.create_task(load())
            erased = "SELECT count(*) FROM crossdock.receipts WHERE 'erased' = ANY (flags)"
            async with pool.acquire() as other_user, other_user.transaction():
                # The command gets as far as this receipt, which another transaction holds, and is killed there.
                await other_user.execute(
                    "SELECT FROM crossdock.receipts WHERE message_id = $1 FOR UPDATE", history[-1].message_id
                )
                select = ("--platform", "channelape", "--account", account, "--key", "STO1")
                command = await shell.start("erase", *select, "--yes")
                await until(lambda: database.fetchval(erased), seconds=60)
                command.send_signal(signal.SIGKILL)
                await command.wait()
            assert not await database.fetchval("SELECT bool_and(finished_at IS NOT NULL) FROM crossdock.erasures")
            assert await traces(database, [mark])

            async def is_checked() -> bool:
                return bool(await pool.fetchval("SELECT bool_and(checked_at IS NOT NULL) FROM crossdock.erasures"))

            await until(is_checked, seconds=60)
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)

            async def is_stored() -> bool:
                sql = "SELECT count(*) FROM crossdock.documents WHERE key LIKE 'STO-%'"
                return bool(await pool.fetchval(sql) >= posted)

            await until(is_stored)
            await until(lambda: none_is(pool, "pending"))
    assert await traces(database, [mark]) == {}
    assert set(await traces(database, [other])) >= {"receipts", "versions", "attempts"}
    received = await database.fetch(
        "SELECT version, 'erased' = ANY (flags) AS is_erased, times_received FROM crossdock.events WHERE key = 'STO1'"
    )
    assert all(row["is_erased"] for row in received)
    assert sum(row["times_received"] for row in received) >= RECEIPTS + posted
    assert mark not in caplog.text
    await database.execute("VACUUM FULL")
    await database.execute("CHECKPOINT")
    # In threads: on a busy machine, reading every file takes seconds, and the event loop must not stand still.
    assert await asyncio.to_thread(list, holding(memory / "postgres", [mark.encode()])) == []
    assert await asyncio.to_thread(list, holding(memory / "postgres", [other.encode()]))
