"""Accounts that have fallen silent, by their own rhythm."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from deploy.cli.status import duration
from schemas.envelope import Envelope
from storage import activity
from tests.support import pipeline
from tests.support.pipeline import until
from tests.support.shell import Shell
from workers.store import activity as activity_counter
from workers.store import metrics


async def store_counts(pool: asyncpg.Pool, account: str, *hours_ago: float, each: int = 4) -> None:
    """Store counts of messages every 15 minutes in the hours that began `hours_ago`."""
    rows, now = [], datetime.now(UTC)
    for ago in hours_ago:
        first = now - timedelta(hours=ago)
        hour = first.replace(minute=0, second=0, microsecond=0)
        rows.append(("channelape", account, hour, each, first, first + timedelta(minutes=15 * (each - 1))))
    async with pool.acquire() as connection:
        await activity.add(connection, rows)


async def test_silence_is_detected_against_usual_activity(pool: asyncpg.Pool) -> None:
    await store_counts(pool, "steady", *range(7, 40))
    await store_counts(pool, "nightly", *[day * 24 + hour for day in range(10) for hour in (6.5, 7.5, 8.5)])
    await store_counts(pool, "new", 20)
    await store_counts(pool, "busy", 0.9, 2, 3, 4)
    async with pool.acquire() as connection:
        activities = {activity_row.account: activity_row for activity_row in await activity.by_account(connection)}
    assert {name for name, measured in activities.items() if measured.silence} == {"steady"}
    steady = activities["steady"]
    assert steady.usual == pytest.approx(900, rel=0.01)
    assert steady.since == pytest.approx(6.25 * 3600, rel=0.01)
    assert activities["new"].limit is None
    assert activities["nightly"].limit == pytest.approx((24 - 2.75) * 3600, rel=0.05)


async def test_counts_of_several_workers_add_up_and_old_ones_are_deleted(pool: asyncpg.Pool) -> None:
    for _ in range(2):
        await store_counts(pool, "a", 1, 24 * 20)
    async with pool.acquire() as connection:
        (measured,) = await activity.by_account(connection)
        assert measured.messages == 8
        assert await connection.fetchval("SELECT count(*) FROM crossdock.arrivals") == 2
        await activity.forget(connection, datetime.now(UTC))
        assert await connection.fetchval("SELECT count(*) FROM crossdock.arrivals") == 1


async def test_a_store_worker_counts_what_it_stores(
    amqp_url: str, database_url: str, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_counter, "WRITE_INTERVAL", 0.05)
    async with pipeline.running(pipeline.store(amqp_url, database_url)), pipeline.door(amqp_url) as door:
        for _ in range(3):
            await door.post("channelape", "receipt_confirmation")
        await until(lambda: _messages(pool, 3))
    assert metrics.SILENCE.labels("channelape", "rothys")._value.get() < 60


async def _messages(pool: asyncpg.Pool, count: int) -> bool:
    return bool(await pool.fetchval("SELECT sum(count) FROM crossdock.arrivals") == count)


async def test_counts_that_could_not_be_written_are_written_later(pool: asyncpg.Pool) -> None:
    async def database() -> asyncpg.Pool:
        return pool

    counter = activity_counter.ActivityCounter(database)
    now = datetime.now(UTC)
    meta = Envelope(message_id="x", platform="ecomnow", account="shop", event="notification", received_at=now)
    counter.count([meta, meta])
    async with pool.acquire() as connection:
        await connection.execute("ALTER TABLE crossdock.arrivals RENAME TO away")
        with pytest.raises(asyncpg.UndefinedTableError):
            await counter.write(connection)
        counter.count([meta])
        await connection.execute("ALTER TABLE crossdock.away RENAME TO arrivals")
        await counter.write(connection)
        await counter.write(connection)
        assert await connection.fetchval("SELECT count FROM crossdock.arrivals") == 3


async def test_status_names_silent_accounts(pool: asyncpg.Pool, shell: Shell) -> None:
    await store_counts(pool, "rothys", *range(7, 40))
    failing = "INSERT INTO crossdock.polls (platform, account, failures, last_error) VALUES ($1, $2, 3, 'no')"
    await pool.execute(failing, "apicbase", "bistro")
    out = (await shell("status")).out
    assert "apicbase/bistro could not be polled 3 times in a row: no" in out
    assert "channelape/rothys is quiet for 6 h, usually every 15 min and never longer than" in out
    status = (await shell("status", "--json")).json
    assert [entry["quiet"] for entry in status["accounts"]] == [True]
    assert [entry["failures"] for entry in status["failing_polls"]] == [3]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(6 * 3600, "6 h"), (900, "15 min"), (60, "1 min"), (90, "90 s"), (1.5, "1.5 s"), (3 * 86_400, "3 d"), (0, "0 s")],
)
def test_durations_are_shown_in_one_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
