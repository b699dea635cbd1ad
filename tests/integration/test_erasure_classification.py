"""Every column is classified as personal or not: a new one can't be forgotten when data are erased."""

import asyncpg

from storage import privacy

COLUMNS = """
SELECT c.relname AS "table", a.attname AS "column"
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'crossdock'::regnamespace AND c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition
"""

COMPUTING_INDEXES = """
SELECT table_.relname AS "table", index_.relname AS name, bool_or(coalesce(a.attstattarget, -1) <> 0) AS is_sampled
FROM pg_index i
JOIN pg_class table_ ON table_.oid = i.indrelid
JOIN pg_class index_ ON index_.oid = i.indexrelid
JOIN pg_attribute a ON a.attrelid = i.indexrelid AND i.indkey[a.attnum - 1] = 0
WHERE table_.relnamespace = 'crossdock'::regnamespace AND i.indexprs IS NOT NULL
GROUP BY 1, 2
"""


async def columns(database: asyncpg.Connection) -> dict[str, set[str]]:
    """The columns of everything that stores rows, partitions aside."""
    by_table: dict[str, set[str]] = {}
    for row in await database.fetch(COLUMNS):
        by_table.setdefault(row["table"], set()).add(row["column"])
    return by_table


def unclassified(by_table: dict[str, set[str]]) -> set[str]:
    return {
        f"{table}.{column}"
        for table, names in by_table.items()
        for column in names
        if table not in privacy.tables()
        or column not in (*privacy.tables()[table].kept, *privacy.tables()[table].erased)
    }


async def test_every_column_of_a_migrated_database_is_classified_once(database: asyncpg.Connection) -> None:
    by_table = await columns(database)
    assert unclassified(by_table) == set(), "say in storage/classification.toml whether these hold personal data"
    for name, table in privacy.tables().items():
        listed = [*table.kept, *table.erased]
        assert sorted(listed) == sorted(by_table.get(name, ())), f"storage/classification.toml: {name}"


async def test_a_new_column_and_a_new_table_are_noticed(database: asyncpg.Connection) -> None:
    await database.execute("ALTER TABLE crossdock.receipts ADD COLUMN nickname text")
    await database.execute("CREATE TABLE crossdock.guests (name text)")
    assert unclassified(await columns(database)) == {"receipts.nickname", "guests.name"}


async def test_the_columns_that_hold_what_was_sent_are_personal() -> None:
    personal = {f"{table}.{column}" for table, names in privacy.personal_columns().items() for column in names}
    assert {
        "receipts.raw", "versions.body", "versions.lines", "quarantined.raw", "outbox.payload", "finished.payload",
        "attempts.response", "allocation_records.items",
    } <= personal  # fmt: skip


async def test_no_samples_are_taken_of_what_an_index_computes_from_personal_columns(
    database: asyncpg.Connection,
) -> None:
    """An erasure can't have them made again where no row is left in a partial index."""
    rows = await database.fetch(COMPUTING_INDEXES)
    assert {"quarantined_reason", "quarantined_open_reason"} <= {row["name"] for row in rows}
    sampled = [row["name"] for row in rows if row["is_sampled"] and row["table"] in privacy.personal_columns()]
    assert sampled == [], "ALTER INDEX … ALTER COLUMN … SET STATISTICS 0"
