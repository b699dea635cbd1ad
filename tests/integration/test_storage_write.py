"""How a batch is written: versions, repeats, redeliveries, rows that the database refuses."""

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas import documents
from schemas.documents import Document
from schemas.platform import Line, ParsedDocument
from tests.support.storing import at, everything, incoming, rows, unreadable
from workers.store import isolate, write
from workers.store.prepare import Incoming

HOUR = 3600.0


def order(content: Any, seconds: float, **more: Any) -> Incoming:
    return incoming("apicbase", "purchase_order", {"id": "I1", "order_remarks": content}, seconds=seconds, **more)


async def history(pool: asyncpg.Pool) -> list[tuple[Any, ...]]:
    """Of the one document: version, what it says, first and last seconds, times received, flags."""
    versions = []
    for row in sorted(await rows(pool, "events"), key=lambda row: row["version"]):
        body = row["body"] and msgspec.json.decode(row["body"]).get("order_remarks")
        first, last = ((row[name] - at(0)).total_seconds() for name in ("received_at", "last_received_at"))
        versions.append((row["version"], body, first, last, row["times_received"], row["flags"]))
    return versions


async def test_a_b_a_is_three_versions(pool: asyncpg.Pool) -> None:
    for seconds, content in enumerate("AABA"):
        await isolate.write_isolating(pool, [order(content, seconds)])
    assert await history(pool) == [
        (1, "A", 0, 1, 2, []),
        (2, "B", 2, 2, 1, ["revised"]),
        (3, "A", 3, 3, 1, ["revised"]),
    ]
    assert len({row["id"] for row in await rows(pool, "events")}) == 3


async def test_the_same_in_one_batch_and_backwards(pool: asyncpg.Pool) -> None:
    await isolate.write_isolating(pool, [order(content, seconds) for seconds, content in enumerate("AABA")])
    in_one = await everything(pool)
    await pool.execute("TRUNCATE crossdock.documents, crossdock.receipts, crossdock.versions")
    for seconds, content in reversed(list(enumerate("AABA"))):
        await isolate.write_isolating(pool, [order(content, seconds)])
    assert await everything(pool) == in_one


async def test_the_version_received_later_is_newer_in_any_order_of_storing(pool: asyncpg.Pool) -> None:
    await isolate.write_isolating(pool, [order("new", 9)])
    await isolate.write_isolating(pool, [order("old", 1)])
    assert [row[:2] for row in await history(pool)] == [(1, "old"), (2, "new")]
    assert [row["version"] for row in await rows(pool, "current_events")] == [2]


async def test_white_space_makes_no_version_and_raw_keeps_the_first_bytes(pool: asyncpg.Pool) -> None:
    raw = b'{"id":"I1","order_remarks":"A"}'
    spaced = b'{ "order_remarks": "\\u0041", "id": "I1" }'
    await isolate.write_isolating(pool, [incoming("apicbase", "purchase_order", spaced, seconds=2)])
    await isolate.write_isolating(pool, [incoming("apicbase", "purchase_order", raw, seconds=1)])
    (event,) = await rows(pool, "events")
    assert (bytes(event["raw"]), event["received_at"], event["times_received"]) == (raw, at(1), 2)


async def test_exact_decimals_survive_and_count(pool: asyncpg.Pool) -> None:
    for seconds, price in enumerate(("1.1", "1.10", "1.1e0", "0.1000000000000000055511151231257827")):
        raw = f'{{"id": "I1", "theoretical_price": {price}}}'.encode()
        await isolate.write_isolating(pool, [incoming("apicbase", "purchase_order", raw, seconds=seconds)])
    values = await pool.fetch("SELECT body ->> 'theoretical_price' AS price FROM crossdock.events ORDER BY version")
    assert [row["price"] for row in values] == ["1.1", "1.10", "1.1", "0.1000000000000000055511151231257827"]


def notification(seconds: float, type_: str = "new_order") -> Incoming:
    body = {"orderNo": "1000-4612", "type": type_, "items": [{"skuNr": "A", "itemQuantity": 1}]}
    return incoming("ecomnow", "notification", body, seconds=seconds)


async def test_ecomnow_the_same_content_within_a_day_is_a_repeat_and_later_is_suspected(pool: asyncpg.Pool) -> None:
    for seconds in (0, 24 * HOUR, 48 * HOUR + 0.001):
        await isolate.write_isolating(pool, [notification(seconds)])
    counts = [row[2:] for row in await history(pool)]
    last = 48 * HOUR + 0.001
    assert counts == [(0, 24 * HOUR, 2, []), (last, last, 1, ["revised", "repeat_suspected"])]


async def test_a_late_ecomnow_post_closes_the_gap(pool: asyncpg.Pool) -> None:
    for seconds in (0, 30 * HOUR, 15 * HOUR):
        await isolate.write_isolating(pool, [notification(seconds)])
    assert [row[2:] for row in await history(pool)] == [(0, 30 * HOUR, 3, [])]


async def test_ecomnow_an_order_and_its_cancellation_are_two_documents(pool: asyncpg.Pool) -> None:
    await isolate.write_isolating(pool, [notification(0), notification(1, "order_cancellation")])
    assert [row["version"] for row in await rows(pool, "events")] == [1, 1]


async def test_a_message_delivered_again_changes_nothing_and_is_announced_again(pool: asyncpg.Pool) -> None:
    first, second = order("A", 1), order("B", 2)
    written = await isolate.write_isolating(pool, [first, second])
    before = await everything(pool)
    for message in (first, second):
        silent = await isolate.write_isolating(pool, [message])
        assert silent.versions == []
        again = await isolate.write_isolating(pool, [msgspec.structs.replace(message, may_be_stored=True)])
        assert [stored.id for stored in again.versions] == [
            stored.id for stored in written.versions if stored.message.message_id == message.message_id
        ]
    assert await everything(pool) == before


async def test_a_late_post_that_splits_a_version_announces_both_halves_also_when_delivered_again(
    pool: asyncpg.Pool,
) -> None:
    await isolate.write_isolating(pool, [order("A", 1), order("A", 5)])
    late = order("B", 3, again=True)
    written = await isolate.write_isolating(pool, [late])
    announced = [(2, b'{"id":"I1","order_remarks":"B"}'), (3, b'{"id":"I1","order_remarks":"A"}')]
    assert sorted((stored.version.number, stored.message.raw) for stored in written.versions) == announced
    assert sorted(
        (stored.message.envelope.received_at, stored.message.envelope.traceparent) for stored in written.versions
    ) == [
        (at(3), late.envelope.traceparent),
        (at(5), order("A", 5).envelope.traceparent),
    ]
    again = await isolate.write_isolating(pool, [late])
    assert {stored.id: stored.message.raw for stored in again.versions} == {
        stored.id: stored.message.raw for stored in written.versions
    }


async def test_a_repeat_delivered_again_counts_once_and_says_its_version_again(pool: asyncpg.Pool) -> None:
    """It may have begun the version before an earlier post took its place; saying an event again is harmless."""
    (version,) = (await isolate.write_isolating(pool, [order("A", 1)])).versions
    repeat = order("A", 2)
    assert (await isolate.write_isolating(pool, [repeat])).versions == []
    for _ in range(2):
        again = await isolate.write_isolating(pool, [msgspec.structs.replace(repeat, may_be_stored=True)])
        assert [stored.id for stored in again.versions] == [version.id]
    assert (await history(pool))[0][4] == 2


async def test_a_message_twice_in_one_batch_counts_once(pool: asyncpg.Pool) -> None:
    written = await isolate.write_isolating(pool, [order("A", 1), order("A", 1)])
    assert len(written.versions) == 1
    assert (await history(pool))[0][4] == 1


async def test_two_posts_in_the_same_microsecond_have_an_order(pool: asyncpg.Pool) -> None:
    first, second = order("A", 1, number=1), order("B", 1, number=2)
    await isolate.write_isolating(pool, [second])
    await isolate.write_isolating(pool, [first])
    assert [row[:2] for row in await history(pool)] == [(1, "A"), (2, "B")]


async def test_a_long_history_is_not_read_for_a_late_post(pool: asyncpg.Pool) -> None:
    """Only what follows the place where it falls can change."""
    await isolate.write_isolating(pool, [order(f"{n // 2}", n * 10) for n in range(400)])
    ids = [row["id"] for row in sorted(await rows(pool, "events"), key=lambda row: row["version"])]
    moved = "SELECT count(*) FROM crossdock.versions WHERE xmin::text::bigint >= $1"
    mark = int(await pool.fetchval("SELECT pg_current_xact_id()::text"))
    await isolate.write_isolating(pool, [order("late", 3965)])
    assert await pool.fetchval(moved, mark) == 4  # one is cut, two are new, one moves up by two
    events = sorted(await rows(pool, "events"), key=lambda row: row["version"])
    assert [row["version"] for row in events] == list(range(1, 203))
    assert [row["id"] for row in events][:198] == ids[:198]


def odd(body: str | None = "{}", *, key: str = "K", lines: Sequence[Line] = (), **more: Any) -> Incoming:
    """A message as no platform's reader would make it, with whatever the database may refuse."""
    good = incoming("apicbase", "purchase_order", {"id": "I9"}, **more)
    reading = ParsedDocument(type="apicbase.purchase_order", key=key, lines=tuple(lines))
    return msgspec.structs.replace(good, document=Document(reading, key.encode()[:16], body, None))


REFUSED = {
    "U+0000": '{"a": "\\u0000"}',
    "a lone surrogate": '{"a": "\\ud800"}',
    "a number beyond numeric": '{"a": 1e999999}',
    "nesting": "[" * 100_000 + "]" * 100_000,
    "no JSON": "{",
    "text that is not UTF-8": "\ud800",
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_body_that_jsonb_rejects_is_stored_without_it_and_its_neighbours_fully(
    pool: asyncpg.Pool, what: str
) -> None:
    batch = [odd(key=f"K{n}", seconds=n) for n in range(20)]
    batch[13] = odd(REFUSED[what], key="K13", seconds=13)
    written = await isolate.write_isolating(pool, batch)
    assert (len(written.versions), written.quarantined) == (20, 0)
    events = {row["key"]: row for row in await rows(pool, "events")}
    assert {key for key, row in events.items() if row["body"] is None} == {"K13"}
    assert events["K13"]["flags"] == [documents.NOT_JSONB]
    assert bytes(events["K13"]["raw"]) == batch[13].raw
    assert not await rows(pool, "quarantine")


async def test_a_message_that_cannot_be_stored_is_quarantined_with_the_reason(pool: asyncpg.Pool) -> None:
    batch = [
        odd(key="good", seconds=1),
        odd(key="a\0b", seconds=2),
        odd(key="x" * 100_000 + "".join(chr(300 + n * 7 % 9000) for n in range(9000)), seconds=3),
        odd(lines=[Line(id="\0")], key="line", seconds=4),
    ]
    written = await isolate.write_isolating(pool, batch)
    assert written.quarantined == 3
    assert [row["key"] for row in await rows(pool, "events")] == ["good"]
    quarantined = await rows(pool, "quarantine")
    assert {row["id"] for row in quarantined} == {message.message_id for message in batch[1:]}
    for row, message in zip(sorted(quarantined, key=lambda row: row["received_at"]), batch[1:], strict=True):
        assert row["reason"].startswith("the database refuses it: ")
        assert bytes(row["raw"]) == message.raw
    assert await pool.fetchval("SELECT count(*) FROM crossdock.receipts") == 1


async def test_content_that_jsonb_refused_stays_flagged_wherever_its_version_moves(pool: asyncpg.Pool) -> None:
    """The refusal is the content's: a copy of it, made by a post that splits its version, is not tried again."""
    for seconds in (1, 5):
        bad = odd('{"a": "\\u0000"}', seconds=seconds)
        await isolate.write_isolating(pool, [bad])
    other = odd("{}", seconds=3)
    assert other.document is not None
    changed = msgspec.structs.replace(other, document=msgspec.structs.replace(other.document, digest=b"other"))
    await isolate.write_isolating(pool, [changed])
    events = sorted(await rows(pool, "events"), key=lambda row: row["version"])
    assert [(row["body"], row["flags"]) for row in events] == [
        (None, ["not_jsonb"]),
        ("{}", []),
        (None, ["not_jsonb"]),
    ]


async def test_quarantined_messages_and_good_ones_share_a_batch(pool: asyncpg.Pool) -> None:
    bad = unreadable(b"\xff\x00", "no order number", seconds=1)
    written = await isolate.write_isolating(pool, [bad, order("A", 2), bad])
    assert (len(written.versions), written.quarantined) == (1, 1)
    (row,) = await rows(pool, "quarantine")
    assert (row["id"], row["reason"], bytes(row["raw"])) == (bad.message_id, "no order number", b"\xff\x00")


async def test_an_error_that_is_about_no_row_is_the_callers(pool: asyncpg.Pool) -> None:
    await pool.execute("ALTER TABLE crossdock.versions RENAME TO elsewhere")
    with pytest.raises(asyncpg.UndefinedTableError):
        await isolate.write_isolating(pool, [order("A", 1), order("B", 2)])
    assert await pool.fetchval("SELECT count(*) FROM crossdock.receipts") == 0


async def test_nothing_of_a_batch_is_half_stored(pool: asyncpg.Pool) -> None:
    """The last statement of the transaction fails: so has the first."""
    await isolate.write_isolating(pool, [order("A", 1)])
    await pool.execute("ALTER TABLE crossdock.documents ADD CHECK (version < 2)")
    before = await everything(pool)
    await isolate.write_isolating(pool, [order("B", 2)])
    after = await everything(pool)
    assert after.pop("quarantine")[0]["reason"].startswith("the database refuses it")
    assert after == {view: rows_before for view, rows_before in before.items() if view != "quarantine"}


async def test_a_commit_that_was_answered_with_a_collision_is_announced_by_the_next_try(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = write.write, []

    async def answered_wrongly(*args: Any) -> write.WriteResult:
        written = await real(*args)
        calls.append(written)
        if len(calls) == 1:
            raise asyncpg.SerializationError("though it was committed")
        return written

    monkeypatch.setattr(write, "write", answered_wrongly)
    written = await isolate.write_isolating(pool, [order("A", 0)])
    assert [stored.version.number for stored in written.versions] == [1]
    assert len(calls) == 2


async def test_an_unannounced_version_is_announced_although_an_earlier_post_replaced_it(pool: asyncpg.Pool) -> None:
    """The version begins with the earlier post then; it is the same version, and nobody else says it."""
    unannounced = order("A", 5)
    (version,) = (await isolate.write_isolating(pool, [unannounced])).versions
    assert (await isolate.write_isolating(pool, [order("A", 1)])).versions == []
    written = await isolate.write_isolating(pool, [msgspec.structs.replace(unannounced, may_be_stored=True)])
    assert [stored.id for stored in written.versions] == [version.id]
