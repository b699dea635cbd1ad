"""Messages that a person has to look at."""

from uuid import UUID

import asyncpg

from storage import quarantine
from tests.support.storing import rows, unreadable
from workers.store import isolate


async def open_ids(connection: asyncpg.Connection) -> list[UUID]:
    return [id_ async for page in quarantine.pages(connection, quarantine.EVERYTHING) for id_, _ in page]


async def test_listed_shown_replayed_and_discarded(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    messages = [unreadable(b"no %d" % n, f"reason {n}", seconds=n) for n in range(4)]
    await isolate.write_isolating(pool, messages)
    names = [message.message_id for message in messages]
    assert await open_ids(database) == names
    listed = await quarantine.entries(database, everything=False, limit=3)
    assert [row["id"] for row in listed] == names[:0:-1]
    assert listed[0]["bytes"] == 4
    shown = await quarantine.show(database, names[2])
    assert shown is not None
    assert (bytes(shown["raw"]), shown["reason"], shown["platform"]) == (b"no 2", "reason 2", "ecomnow")
    assert await quarantine.show(database, UUID(int=99)) is None

    await quarantine.mark_all_replayed(database, [names[0]])
    assert await quarantine.discard_all(database, [names[1]]) == [names[1]]
    assert await quarantine.discard_all(database, [names[1], UUID(int=99)]) == []
    assert await open_ids(database) == names[2:]
    assert await quarantine.count_open(database) == 2
    assert len(await quarantine.entries(database, everything=True, limit=9)) == 4
    marks = {
        row["id"]: (row["replayed_at"] is None, row["discarded_at"] is None) for row in await rows(pool, "quarantine")
    }
    assert [marks[name] for name in names] == [(False, True), (True, False), (True, True), (True, True)]


async def test_a_replay_that_fails_again_is_back_with_its_new_reason(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await isolate.write_isolating(pool, [unreadable(b"x", "then")])
    (name,) = await open_ids(database)
    await quarantine.mark_all_replayed(database, [name])
    await isolate.write_isolating(pool, [unreadable(b"x", "now")])
    (row,) = await rows(pool, "quarantine")
    assert (row["replayed_at"], row["reason"]) == (None, "now")


async def test_a_discarded_message_that_is_replayed_and_fails_again_is_back(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await isolate.write_isolating(pool, [unreadable(b"x", "then")])
    (name,) = await open_ids(database)
    await quarantine.discard_all(database, [name])
    await quarantine.mark_all_replayed(database, [name])
    await isolate.write_isolating(pool, [unreadable(b"x", "now")])
    assert await open_ids(database) == [name]
    # Discarded after the replay: a failure of that replay doesn't bring it back.
    await quarantine.mark_all_replayed(database, [name])
    await quarantine.discard_all(database, [name])
    await isolate.write_isolating(pool, [unreadable(b"x", "later")])
    assert await open_ids(database) == []


async def test_the_broker_delivering_it_twice_changes_nothing(pool: asyncpg.Pool) -> None:
    for reason in ("first", "second"):
        await isolate.write_isolating(pool, [unreadable(b"x", reason)])
    (row,) = await rows(pool, "quarantine")
    assert row["reason"] == "first"


async def test_what_was_discarded_stays_discarded(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    await isolate.write_isolating(pool, [unreadable(b"x", "then")])
    (name,) = await open_ids(database)
    await quarantine.discard_all(database, [name])
    await isolate.write_isolating(pool, [unreadable(b"x", "now")])
    assert await open_ids(database) == []
