"""`body` in the view `events`: what was sent as JSON, though only the bytes are stored, whatever was sent."""

import codecs
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas import registry
from storage import backfill
from tests.support.storing import incoming
from workers.store import isolate
from workers.store.prepare import Incoming

EVENT = "stock_transfer_order"
HOSTILE = {
    "exact decimals": b'{"channelOrderId": "B1", "a": [1.10, 1.1, 100, 1e2, -0, 12345678901234567890123456789]}',
    "a member that occurs twice": b'{"channelOrderId": "B2", "a": 1, "a": 2}',
    "text beyond ASCII": '{"channelOrderId": "B3", "a": "\u00e9 \U0001f600 \u2028"}'.encode(),
    "escapes": b'{"channelOrderId": "B4", "a": "\\u00e9 \\ud83d\\ude00 \\\\u0000 \\/"}',
    "blanks around it": b' \r\n{"channelOrderId": "B5"}\n',
    "a number at the limit": b'{"channelOrderId": "B6", "a": 1e131071}',
    "U+0000": b'{"channelOrderId": "B7", "a": "\\u0000"}',
    "a lone surrogate": b'{"channelOrderId": "B8", "a": "\\ud83d"}',
    "a number beyond numeric": b'{"channelOrderId": "B9", "a": 1e131072}',
    "a zero that no reader survives": b'{"channelOrderId": "B10", "a": 0e999999999999}',
    "an integer that no reader survives": b'{"channelOrderId": "B11", "a": ' + b"1" * 4301 + b"}",
    "deep nesting": b'{"channelOrderId": "B12", "a": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    "a byte order mark": codecs.BOM_UTF8 + b'{"channelOrderId": "B13"}',
    "UTF-16": '{"channelOrderId": "B14", "a": "\u00e9"}'.encode("utf-16"),
    "bytes that are not UTF-8": b'{"channelOrderId": "B15", "a": "\xff"}',
    "more than a page": b'{"channelOrderId": "B17", "a": "' + bytes(range(48, 91)) * 2000 + b'"}',
}
BROKEN = b'{"orderNo": 1000-4612, "type": "new_order", "items": []}'
VALID = b'{"orderNo": "1000-4612", "type": "new_order", "items": []}'
OTHER = b'{"orderNo": "1000-4612", "type": "new_order", "items": [{"skuNr": "A", "itemQuantity": 1}]}'


def examples() -> list[Incoming]:
    """Every example of every platform, and everything hostile, each as a document of its own."""
    messages = [incoming("channelape", EVENT, raw, number=n + 1, seconds=n) for n, raw in enumerate(HOSTILE.values())]
    for name, platform in registry.platforms().items():
        for event in platform.events:
            for example in event.examples:
                number = len(messages) + 1
                raw = registry.example(name, example)
                messages.append(incoming(name, event.name, raw, number=number, seconds=number))
    return messages


async def bodies(database: asyncpg.Connection) -> dict[int, tuple[str | None, list[str], bytes]]:
    """Return body, flags and bytes of every version that begins with a message, by the message's number."""
    rows = await database.fetch("SELECT message_id, body::text AS body, flags, raw FROM crossdock.events")
    return {row["message_id"].int: (row["body"], row["flags"], bytes(row["raw"])) for row in rows}


async def stored(database: asyncpg.Connection) -> set[int]:
    """Return the numbers of the messages whose body is stored besides their bytes."""
    rows = await database.fetch("SELECT message_id FROM crossdock.versions WHERE body IS NOT NULL")
    return {row["message_id"].int for row in rows}


async def test_a_body_is_shown_as_the_json_that_was_sent(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    messages = examples()
    await isolate.write_isolating(pool, messages)
    expected: dict[int, Any] = {}
    first: dict[tuple[str, str], int] = {}
    for message in messages:
        document = message.document
        assert document is not None
        number = first.setdefault((document.reading.type, document.reading.key), message.message_id.int)
        body = document.body and await database.fetchval("SELECT $1::text::jsonb::text", document.body)
        if number == message.message_id.int:
            expected[number] = (body, list(document.flags), message.raw)
    seen = await bodies(database)
    assert len(seen) >= len(HOSTILE) + 8
    for number, (body, flags, raw) in expected.items():
        assert seen[number][0] == body, raw[:60]
        assert [flag for flag in seen[number][1] if flag != "direction_flipped"] == flags, raw[:60]
        assert seen[number][2] == raw
    recoded = {1 + list(HOSTILE).index(name) for name in ("a byte order mark", "UTF-16")}
    assert recoded < await stored(database), "what cannot be made from the bytes"
    assert len(await stored(database)) < len(seen) / 3


async def as_older_release(database: asyncpg.Connection, messages: list[Incoming]) -> None:
    """Make the rows what an older release stored: every body, and neither platform nor account nor type."""
    await database.execute("UPDATE crossdock.versions SET platform = NULL, account = NULL, type = NULL")
    for message in messages:
        assert message.document is not None
        await database.execute(
            "UPDATE crossdock.versions SET body = $1::text::jsonb WHERE message_id = $2",
            message.document.body,
            message.message_id,
        )


async def test_bodies_of_an_older_release_are_stored_once_and_shown_unchanged(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    messages = examples()
    await isolate.write_isolating(pool, messages)
    before, kept = await bodies(database), await stored(database)
    sources = "SELECT id, platform, account, type FROM crossdock.versions ORDER BY id"
    named = await database.fetch(sources)
    await as_older_release(database, messages)
    assert {n: row[0] for n, row in (await bodies(database)).items()} == {n: row[0] for n, row in before.items()}
    assert len(await stored(database)) > len(kept)
    await backfill.complete(database, lambda line: None)
    assert await bodies(database) == before
    assert await stored(database) == kept
    assert await database.fetch(sources) == named


async def history(database: asyncpg.Connection) -> list[tuple[int, str | None, list[str]]]:
    rows = await database.fetch(
        "SELECT version, body::text AS body, flags FROM crossdock.events WHERE key = '1000-4612' ORDER BY version"
    )
    return [(row["version"], row["body"], row["flags"]) for row in rows]


def posts(*story: tuple[bytes, int]) -> list[Incoming]:
    return [incoming("ecomnow", "notification", raw, seconds=seconds) for raw, seconds in story]


STORIES = {
    "begins with a repaired one that came late": ([(VALID, 5)], [(BROKEN, 1)]),
    "begins with a valid one that came late": ([(BROKEN, 5)], [(VALID, 1)]),
    "is split before a repaired repeat": ([(VALID, 1), (BROKEN, 5)], [(OTHER, 3)]),
    "is split before a valid repeat": ([(BROKEN, 1), (VALID, 5)], [(OTHER, 3)]),
    "returns in a late batch": ([(OTHER, 5), (VALID, 9)], [(BROKEN, 1), (VALID, 2)]),
}


@pytest.mark.parametrize("story", STORIES)
async def test_a_body_stays_when_its_version_begins_with_other_bytes(
    pool: asyncpg.Pool, database: asyncpg.Connection, story: str
) -> None:
    """A repaired post and a valid one have the same content; which of them comes first changes nothing in `body`."""
    first, late = STORIES[story]
    for batch in (first, late):
        for message in posts(*batch):
            await isolate.write_isolating(pool, [message])
    seen = await history(database)
    every = sorted([*first, *late], key=lambda post: post[1])
    contents = [VALID if raw == BROKEN else raw for raw, _ in every]
    expected = [raw for n, raw in enumerate(contents) if n == 0 or raw != contents[n - 1]]
    texts = [await database.fetchval("SELECT $1::text::jsonb::text", raw.decode()) for raw in expected]
    assert [body for _, body, _ in seen] == texts
    assert [number for number, _, _ in seen] == list(range(1, len(expected) + 1))


async def test_bytes_that_postgresql_does_not_take_make_no_body_and_no_error(database: asyncpg.Connection) -> None:
    """One row that could not be read would make the whole view unusable."""
    for raw in (b"", b"{", b"\xff", b'"\\u0000"', b"[" * 200_000, b"1e999999"):
        assert await database.fetchval("SELECT crossdock.body_of($1)", raw) is None
    assert msgspec.json.decode(await database.fetchval("SELECT crossdock.body_of($1)", b'{"a": 1}')) == {"a": 1}


async def test_small_bodies_are_compressed_in_rows_that_stay_whole(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    """PostgreSQL compresses only those of more than 2 kB. Without lz4 that is all, because pglz is slow."""
    has_lz4 = await database.fetchval(
        "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
    )
    raw = registry.example("channelape", "stock_transfer_order")
    assert 1000 < len(raw) < 2000
    large = b'{"channelOrderId": "B99", "a": "' + bytes(range(48, 91)) * 200 + b'"}'
    await isolate.write_isolating(pool, posts_of(raw, large))
    rows = await database.fetch(
        "SELECT raw, pg_column_size(raw) AS size, filler IS NULL AS is_bare, tableoid::regclass::text AS partition "
        "FROM crossdock.receipts ORDER BY octet_length(raw)"
    )
    assert [bytes(row["raw"]) for row in rows] == [raw, large]
    assert [row["is_bare"] for row in rows] == [not has_lz4] * 2
    assert rows[0]["size"] < 0.75 * len(raw) if has_lz4 else rows[0]["size"] >= len(raw)
    assert rows[1]["size"] < 0.2 * len(large)
    moved = "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = $1::text::regclass"
    assert await database.fetchval(moved, rows[0]["partition"]) == 0


def posts_of(*bodies: bytes) -> list[Incoming]:
    return [incoming("channelape", EVENT, raw, number=n + 1, seconds=n) for n, raw in enumerate(bodies)]
