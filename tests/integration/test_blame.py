"""No message is blamed for what isn't its fault: not for the database's errors, not for how often it was delivered."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import aiormq
import asyncpg
import msgspec
import pytest
from pamqp.commands import Basic

from broker.consumer import IncomingMessage, Session
from schemas import documents, envelope, registry, topology
from schemas.envelope import Envelope
from schemas.platform import Platform
from tests.support import pipeline
from tests.support.pipeline import running, until
from workers.runtime import batch_consumer, rehearsal, watchdog
from workers.runtime.outcomes import UnavailableError
from workers.store import intake, isolate, prepare, stations
from workers.store.worker import StoreWorker
from workers.store.write import WriteResult

CODES = ("53200", "58030", "XX000", "53400", "57P05", "25P03", "40003", "55006", "0A000", "22000", "23514", "54000")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stations, "INTERVAL", 0.1)
    monkeypatch.setattr(isolate, "PAUSES", (0.0, 0.05, 0.1))
    monkeypatch.setattr(rehearsal, "PAUSES", (0.0, 0.0, 0.0))


@asynccontextmanager
async def open_channel(amqp_url: str) -> AsyncIterator[aiormq.abc.AbstractChannel]:
    connection = await aiormq.connect(amqp_url)
    try:
        yield await connection.channel()
    finally:
        await connection.close()


def order(key: str) -> tuple[Basic.Properties, bytes]:
    """A purchase order as the ingress publishes it."""
    body = msgspec.json.decode(registry.example("apicbase", "purchase_order")) | {"id": key}
    message = Envelope(
        message_id=str(uuid4()),
        platform="apicbase",
        account="acme",
        event="purchase_order",
        received_at=envelope.now(),
    )
    return envelope.to_properties(message), msgspec.json.encode(body)


async def publish(amqp_url: str, keys: list[str], queue: str = topology.STORE) -> None:
    async with open_channel(amqp_url) as opened:
        for key in keys:
            properties, body = order(key)
            await opened.basic_publish(body, routing_key=queue, properties=properties)


async def queue_depth(amqp_url: str, queue: str) -> int:
    async with open_channel(amqp_url) as opened:
        return (await opened.queue_declare(queue, passive=True)).message_count or 0


async def stored_keys(database: asyncpg.Connection) -> list[str]:
    return [row["key"] for row in await database.fetch("SELECT key FROM crossdock.events ORDER BY key")]


async def quarantine_rows(database: asyncpg.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await database.fetch("SELECT stage, attempts, reason FROM crossdock.quarantine")]


async def raise_on(database: asyncpg.Connection, code: str, condition: str = "true") -> None:
    """Every row of `documents` that fits the condition raises an error from now on."""
    await database.execute(
        f"CREATE OR REPLACE FUNCTION crossdock.trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {condition} THEN RAISE EXCEPTION 'trouble' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$"
    )
    await database.execute(
        "CREATE OR REPLACE TRIGGER trouble BEFORE INSERT ON crossdock.documents "
        "FOR EACH ROW EXECUTE FUNCTION crossdock.trouble()"
    )


async def end_trouble(database: asyncpg.Connection) -> None:
    await database.execute("DROP TRIGGER trouble ON crossdock.documents")


@asynccontextmanager
async def storing(amqp_url: str, database_url: str) -> AsyncIterator[StoreWorker]:
    worker = pipeline.store(amqp_url, database_url)
    async with running(worker):
        yield worker


async def test_database_errors_quarantine_nothing(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    async with storing(amqp_url, database_url) as worker:
        for code in CODES:
            keys = [f"{code}-{number:02}" for number in range(20)]
            await raise_on(database, code)
            await publish(amqp_url, keys)
            await until(partial(_reports, worker, code), what=code)
            await end_trouble(database)
            await until(partial(_are_stored, database, f"{code}-%", 20), what=f"orders after {code}")
        await until(lambda: not worker.problems(), what="it is ready again")
    assert await quarantine_rows(database) == []
    assert await queue_depth(amqp_url, topology.DEAD) == 0
    events = await database.fetchval("SELECT count(*) FROM crossdock.events WHERE body IS NULL OR times_received <> 1")
    assert events == 0


def _reports(worker: StoreWorker, code: str) -> bool:
    return any(code in problem for problem in worker.problems())


async def _are_stored(database: asyncpg.Connection, pattern: str, count: int) -> bool:
    return bool(await database.fetchval("SELECT count(*) = $2 FROM crossdock.events WHERE key LIKE $1", pattern, count))


@pytest.mark.parametrize("code", ["XX000", "22000"])
async def test_only_the_message_that_the_database_rejects_is_quarantined(
    code: str, amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    await raise_on(database, code, "NEW.key = 'poison'")
    good = [f"good-{number:03}" for number in range(60)]
    await publish(amqp_url, [*good[:30], "poison", *good[30:]])
    async with storing(amqp_url, database_url):
        await until(lambda: database.fetchval("SELECT count(*) = 1 FROM crossdock.quarantine"), what="quarantine")
        await until(lambda: _are_stored(database, "good-%", 60), what="its neighbours")
    ((stage, attempts, reason),) = await quarantine_rows(database)
    assert (stage, attempts) == ("failed", 3)
    assert reason.startswith("the database refuses it: ")
    assert f"{code}: trouble" in reason
    await end_trouble(database)


async def test_messages_that_fail_alike_stay_queued_and_their_neighbours_are_stored(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    """A broken index or a full tablespace hits some rows and not others."""
    await raise_on(database, "XX002", "NEW.key LIKE 'bad-%'")
    bad, good = [f"bad-{number}" for number in range(8)], [f"good-{number}" for number in range(40)]
    await publish(amqp_url, bad[:4])
    await publish(amqp_url, good)
    await publish(amqp_url, bad[4:])
    async with storing(amqp_url, database_url):
        await until(lambda: _are_stored(database, "good-%", 40), what="neighbours")
        await until(lambda: _queue_is_empty(amqp_url), what="nothing is left in the queue")
        await end_trouble(database)
        await until(lambda: _are_settled(database, 8), what="the others")
    blamed = await quarantine_rows(database)
    assert len(blamed) <= isolate.ALIKE
    assert {stage for stage, _, _ in blamed} <= {"failed"}


async def _queue_is_empty(amqp_url: str) -> bool:
    return await queue_depth(amqp_url, topology.STORE) == 0


async def _are_settled(database: asyncpg.Connection, count: int) -> bool:
    return bool(
        await database.fetchval(
            "SELECT (SELECT count(*) FROM crossdock.events WHERE key LIKE 'bad-%') "
            "+ (SELECT count(*) FROM crossdock.quarantine) = $1",
            count,
        )
    )


async def test_while_the_database_is_unavailable_all_messages_stay_queued(
    amqp_url: str, database_url: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is unacknowledged, so no consumer time-out and no killed worker counts anything for a message."""
    monkeypatch.setattr(batch_consumer, "HOLD_TIME", 0.3)
    async with storing(amqp_url, database_url) as worker:
        await raise_on(database, "53200")
        await publish(amqp_url, [f"K{number:03}" for number in range(200)])
        await until(partial(_reports, worker, "53200"), what="it says why")
        await until(lambda: _depth_is(amqp_url, 200), what="all are given back")
        (taking,) = worker._batch_consumers
        assert taking.held_up() > 0
    async with storing_when_unavailable(amqp_url, database_url):
        # Once, the worker looks at the oldest message to know its age, and gives it back.
        await until(lambda: _depth_is(amqp_url, 200), what="all are in the queue")
        await end_trouble(database)
        await until(lambda: _are_stored(database, "K%", 200), what="all are stored")
    assert await quarantine_rows(database) == []


async def _depth_is(amqp_url: str, count: int) -> bool:
    return await queue_depth(amqp_url, topology.STORE) == count


@asynccontextmanager
async def storing_when_unavailable(amqp_url: str, database_url: str) -> AsyncIterator[StoreWorker]:
    """Start a worker while the database is unavailable."""
    worker = pipeline.store(amqp_url, database_url)
    await worker.start()
    try:
        await until(lambda: any("53200" in problem for problem in worker.problems()))
        yield worker
    finally:
        await worker.stop()


async def redeliver(amqp_url: str, count: int) -> None:
    """Take everything as a worker that dies."""
    connection = await aiormq.connect(amqp_url)
    opened = await connection.channel()
    taken = asyncio.Semaphore(0)

    async def take(message: aiormq.abc.DeliveredMessage) -> None:
        taken.release()

    await opened.basic_consume(topology.STORE, take)
    for _ in range(count):
        await taken.acquire()
    await connection.close()


async def test_a_message_that_ends_its_reader_is_quarantined_alone(
    amqp_url: str, database_url: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe, here = documents.describe, os.getpid()

    def poisoned(platform: Platform, event: str, raw: bytes, content_type: str | None = None) -> documents.Document:
        document = describe(platform, event, raw, content_type)
        if document.reading.key == "poison":
            assert os.getpid() != here, "the worker itself never reads it"
            os.kill(os.getpid(), signal.SIGSEGV)
        return document

    monkeypatch.setattr(documents, "describe", poisoned)
    good = [f"good-{number:04}" for number in range(500)]
    await publish(amqp_url, [*good[:250], "poison", *good[250:]])
    await redeliver(amqp_url, 501)
    async with storing(amqp_url, database_url):
        await until(lambda: _are_stored(database, "good-%", 500), what="its neighbours")
        await until(lambda: database.fetchval("SELECT count(*) = 1 FROM crossdock.quarantine"), what="quarantine")
    ((stage, attempts, reason),) = await quarantine_rows(database)
    assert (stage, attempts) == ("failed", 3)
    assert reason == "it ended the process that read it, 3 times of 3: signal SIGSEGV"


async def test_only_a_message_whose_reading_raises_is_quarantined(
    amqp_url: str, database_url: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe = documents.describe

    def broken(platform: Platform, event: str, raw: bytes, content_type: str | None = None) -> documents.Document:
        document = describe(platform, event, raw, content_type)
        if document.reading.key == "poison":
            raise KeyError("a defect of ours")
        return document

    monkeypatch.setattr(documents, "describe", broken)
    await publish(amqp_url, ["good-1", "poison", "good-2"])
    async with storing(amqp_url, database_url):
        await until(lambda: database.fetchval("SELECT count(*) = 1 FROM crossdock.quarantine"), what="quarantine")
        await until(lambda: _are_stored(database, "good-%", 2), what="its neighbours")
    ((stage, _, reason),) = await quarantine_rows(database)
    assert (stage, reason) == ("failed", "KeyError: 'a defect of ours'")


async def test_the_dead_letter_and_unrouted_queues_are_emptied(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    """What RabbitMQ gave up on is stored, what is not ours and what no queue took waits for a person."""
    await publish(amqp_url, [f"dead-{number}" for number in range(3)], topology.DEAD)
    async with open_channel(amqp_url) as opened:
        await opened.basic_publish(b"\xff\0nothing", routing_key=topology.DEAD)
        properties, body = order("unrouted")
        await opened.basic_publish(
            body, exchange=topology.UNROUTED, routing_key="apicbase.acme.x", properties=properties
        )
        await until(lambda: queue_depth(amqp_url, topology.UNROUTED))
    async with storing(amqp_url, database_url):
        await until(lambda: _are_stored(database, "dead-%", 3), what="the dead are stored")
        await until(lambda: database.fetchval("SELECT count(*) = 2 FROM crossdock.quarantine"), what="quarantine")
        await until(lambda: _both_empty(amqp_url), what="empty way stations")
    document = await database.fetch(
        "SELECT id, stage, platform, reason, raw, routing_key FROM crossdock.quarantined ORDER BY stage"
    )
    unreadable, unrouted = document
    assert (unreadable["stage"], unreadable["platform"], bytes(unreadable["raw"])) == (
        "unreadable",
        "",
        b"\xff\0nothing",
    )
    assert unreadable["reason"].startswith("not a message of ours")
    assert (unrouted["stage"], unrouted["platform"], bytes(unrouted["raw"])) == ("unrouted", "apicbase", body)
    assert str(unrouted["id"]) == properties.message_id
    assert unrouted["routing_key"] == "apicbase.acme.x"


async def _both_empty(amqp_url: str) -> bool:
    return not await queue_depth(amqp_url, topology.DEAD) and not await queue_depth(amqp_url, topology.UNROUTED)


async def test_a_message_held_by_two_workers_is_announced_by_the_one_that_stored_it(
    amqp_url: str, database_url: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is done while the note, which stored the order, still waits for its event to be confirmed."""
    properties, body = order("K1")
    worker = StoreWorker(pipeline.config(), amqp_url=amqp_url, database_url=database_url)
    announced: list[str] = []
    confirms = asyncio.Event()

    async def announce(written: WriteResult, public_url: str) -> None:
        names = [stored.document.reading.key for stored in written.versions]
        if names and not confirms.is_set():
            confirms.set()
            raise UnavailableError("no confirm")
        announced.extend(names)

    monkeypatch.setattr(worker._announcer, "announce", announce)
    monkeypatch.setattr(watchdog, "arm", lambda: None)  # nothing would disarm it: the worker is not started
    first, second = _message(properties, body, 1), _message(properties, body, 2)
    # The request is prepared first, and its write takes long.
    request = [intake.decode(first, pipeline.config())]
    with pytest.raises(UnavailableError):
        await worker._handle(topology.STORE, [second])
    # Now the request's write ends: the receipt is there, and there is nothing to say.
    await announce(await worker._write(request), "")
    assert announced == []
    await worker._handle(topology.STORE, [second])
    assert announced == ["K1"]
    await worker._database.close(5)


async def test_a_message_that_was_returned_to_the_queue_leaves_nothing_behind(
    amqp_url: str, database_url: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is announced, a copy of it that arrives for the first time is a repeat and is not announced again."""
    properties, body = order("K1")
    worker = StoreWorker(pipeline.config(), amqp_url=amqp_url, database_url=database_url)
    announced: list[list[str]] = []

    async def announce(written: WriteResult, public_url: str) -> None:
        announced.append([stored.document.reading.key for stored in written.versions])
        if len(announced) == 1:
            raise UnavailableError("no confirm")

    monkeypatch.setattr(worker._announcer, "announce", announce)
    monkeypatch.setattr(watchdog, "arm", lambda: None)  # nothing would disarm it: the worker is not started
    first = _message(properties, body, 1)
    with pytest.raises(UnavailableError):
        await worker._handle(topology.STORE, [first])
    first.session.end()
    await worker._handle(topology.STORE, [_message(properties, body, 2, redelivered=True)])
    await worker._handle(topology.STORE, [_message(properties, body, 3)])
    assert announced == [["K1"], ["K1"], []]
    await worker._database.close(5)


class _OpenChannel:
    """A channel that is never closed."""

    is_closed = False


def _message(properties: Basic.Properties, body: bytes, tag: int, *, redelivered: bool = False) -> IncomingMessage:
    session = Session(_OpenChannel(), None)  # type: ignore[arg-type]
    return IncomingMessage(session, tag, redelivered, properties.marshal(), body)


def test_a_foreign_message_keeps_its_readable_properties() -> None:
    properties = Basic.Properties(headers={"platform": "nobody\0", "event": 7}, message_id="not-a-uuid")
    message = prepare.for_quarantine(
        properties.marshal(), b"body", prepare.UNREADABLE, "why\0", envelope.now(), key="k"
    )
    read = message.envelope
    assert (read.platform, read.account, read.event) == ("nobody\ufffd", "", "")
    assert (message.reason, message.routing_key, message.raw) == ("why\ufffd", "k", b"body")
    again = prepare.for_quarantine(properties.marshal(), b"body", prepare.UNREADABLE, "why", envelope.now())
    assert again.message_id == message.message_id
