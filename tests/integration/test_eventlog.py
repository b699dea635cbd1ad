"""The log of events: from the first or from anywhere, each event once, whatever happens to the connection."""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from broker import ids
from broker.eventlog import Entry, EventLog, newest
from broker.publisher import Publisher
from schemas import cloudevents, registry
from schemas.envelope import Stamp
from schemas.topology import INBOUND
from tests.support import pipeline
from tests.support.announcing import announce_all, publishing
from tests.support.shell import Shell

MANY = 20_000
Consume = Callable[..., Awaitable[tuple[int, list[Any], str]]]


async def read(log: EventLog, count: int) -> list[Entry]:
    read_entries: list[Entry] = []
    reading = log.read()
    async with asyncio.timeout(60):
        while len(read_entries) < count:
            read_entries += await anext(reading)
    await reading.aclose()
    return read_entries


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_a_reader_that_starts_half_way_sees_every_stored_event_once_and_in_order(
    amqp_url: str, database_url: str, pool: asyncpg.Pool
) -> None:
    platform = registry.platforms()["channelape"]
    assert platform.with_new_key is not None
    raw = msgspec.json.format(registry.example("channelape", "receipt_confirmation"), indent=-1)
    stamp = Stamp("channelape", "rothys", "receipt_confirmation", "application/json", None)

    async def fill(publisher: Publisher) -> None:
        for _ in range(MANY // 1000):
            futures = []
            for _ in range(1000):
                name, body = ids.message_id(), platform.with_new_key("receipt_confirmation", raw, uuid4().hex)  # type: ignore[misc]
                properties = stamp(name, time.time(), ids.traceparent(None))
                key = "channelape.rothys.receipt_confirmation"
                futures.append(publisher.publish(INBOUND, key, properties, name, body))
            await asyncio.gather(*futures)

    async def half_way() -> bool:
        return int(await pool.fetchval("SELECT count(*) FROM crossdock.receipts")) >= MANY // 2

    async with publishing(amqp_url) as publisher, pipeline.running(pipeline.store(amqp_url, database_url)):
        filling = asyncio.create_task(fill(publisher))
        await pipeline.until(half_way, seconds=60)
        async with EventLog(amqp_url, "first") as log:
            read_entries = await read(log, MANY)
        await filling
    stored = {str(row["id"]) for row in await pool.fetch("SELECT id FROM crossdock.events")}
    assert len(read_entries) == len(stored) == MANY
    assert {entry.id for entry in read_entries} == stored
    assert [entry.offset for entry in read_entries] == sorted(entry.offset for entry in read_entries)
    assert cloudevents.decode(read_entries[0].body).id == read_entries[0].id


async def test_a_lost_connection_loses_and_repeats_nothing(amqp_url: str) -> None:
    names = [str(uuid4()) for _ in range(3000)]
    await announce_all(amqp_url, names)
    async with EventLog(amqp_url, "first", prefetch=100) as log:
        read_entries: list[Entry] = []
        async with asyncio.timeout(60):
            reading = log.read()
            while len(read_entries) < len(names):
                entries = await anext(reading)
                if len(read_entries) // 1000 != (len(read_entries) + len(entries)) // 1000:
                    log._broker_connection.fail("test")
                read_entries += entries
            await reading.aclose()
    assert [entry.id for entry in read_entries] == names


async def test_an_event_published_again_is_read_once(amqp_url: str) -> None:
    names = ["a", "b", "a", "c", "b"]
    await announce_all(amqp_url, names)
    async with EventLog(amqp_url, "first") as log:
        assert [entry.id for entry in await read(log, 3)] == ["a", "b", "c"]
    assert await newest(amqp_url) == 4


async def test_next_starts_with_the_events_from_now_on(amqp_url: str) -> None:
    await announce_all(amqp_url, ["old"])
    async with EventLog(amqp_url, "next") as log:
        await log.opened()
        await announce_all(amqp_url, ["new"])
        assert [entry.id for entry in await read(log, 1)] == ["new"]


async def test_a_reader_starts_at_an_offset_or_a_time(amqp_url: str) -> None:
    await announce_all(amqp_url, [f"n{n}" for n in range(50)])
    async with EventLog(amqp_url, 20) as log:
        read_entries = await read(log, 30)
    assert [entry.id for entry in read_entries] == [f"n{n}" for n in range(20, 50)]
    async with EventLog(amqp_url, datetime.now(UTC) - timedelta(hours=1)) as log:
        assert (await read(log, 50))[0].id == "n0"


async def test_an_empty_log_has_no_newest(amqp_url: str) -> None:
    assert await newest(amqp_url) is None


@pytest.fixture
def consume(shell: Shell) -> Consume:
    async def run(*args: str) -> tuple[int, list[Any], str]:
        output = await shell("consume", *args)
        return output.code, output.lines, output.err

    return run


async def test_consume_prints_one_event_per_line_and_the_offset_to_continue_from(
    consume: Consume, amqp_url: str
) -> None:
    assert await consume() == (0, [], "crossdock: 0 events\n")
    await announce_all(amqp_url, ["a", "b"])
    await announce_all(amqp_url, ["c"], platform="ecomnow", account="shop")
    code, events, output = await consume()
    assert (code, [event["id"] for event in events]) == (0, ["a", "b", "c"])
    assert events[0]["data"] == {"n": 1}
    assert output == "crossdock: 3 events; continue with `--from 3`\n"
    last = (("--type", "ecomnow.*"), ("--account", "shop"), ("--account", "ecomnow/*"), ("--from", "2"))
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    # At the same time, because each waits for the end of the log.
    at_end, first, none, *selected = await asyncio.gather(
        consume("--from", "3"), consume("--count", "1"), consume("--from", later), *(consume(*args) for args in last)
    )
    assert at_end == (0, [], "crossdock: 0 events; continue with `--from 3`\n")
    _, events, output = first
    assert ([event["id"] for event in events], output) == (["a"], "crossdock: 1 events; continue with `--from 1`\n")
    for args, (_, events, _) in zip(last, selected, strict=True):
        assert [event["id"] for event in events] == ["c"], args
    assert none[:2] == (0, [])


async def test_consume_follows_until_it_is_stopped(shell: Shell, amqp_url: str) -> None:
    await announce_all(amqp_url, ["old"])
    process = await shell.start("consume", "--follow", "--from", "first")
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(30):
        assert json.loads(await process.stdout.readline())["id"] == "old"
        await announce_all(amqp_url, ["new"])
        assert json.loads(await process.stdout.readline())["id"] == "new"
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        assert (await process.stderr.read()).decode() == "crossdock: 2 events; continue with `--from 2`\n"


@pytest.mark.parametrize("place", ["yesterday", "-1", "2026-13-01"])
async def test_consume_explains_an_invalid_from(consume: Consume, place: str) -> None:
    code, _, output = await consume("--from", place)
    assert code == 2
    assert "write first, next, an offset, or a time as in 2026-11-21T09:30:00Z" in output
