"""Every question of docs/questions.md is answered through indexes, for what is frequent and for what is rare."""

import json
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from bench import questions
from tests.conftest import Databases

DOCUMENTS = 15_000
BLOCKS = 2_500
"""Pages that an answer of 50 rows may touch; the tables have many times as many."""
RARE = {
    "'rothys'": "'acme'",
    "'channelape'": "'apicbase'",
    "'channelape.receipt_confirmation'": "'apicbase.purchase_order'",
}
"""What few of the oldest documents have."""


@pytest_asyncio.fixture(scope="module")
async def filled(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    url = await databases.take()
    connection = await asyncpg.connect(url)
    await questions.fill(connection, DOCUMENTS)
    yield connection
    await connection.close()
    databases.give_back(url)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a node of a plan and all nodes below it."""
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


async def explain(database: asyncpg.Connection, sql: str) -> dict[str, Any]:
    text = await database.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}")
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


async def large_tables(database: asyncpg.Connection) -> set[str]:
    rows = await database.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'crossdock'::regnamespace AND relkind = 'r' "
        "AND reltuples >= 500"
    )
    return {row["relname"] for row in rows}


def rare(sql: str) -> str:
    for value, other in RARE.items():
        sql = sql.replace(value, other)
    return sql


@pytest.mark.parametrize("title", questions.questions())
async def test_a_question_reads_no_table(filled: asyncpg.Connection, title: str) -> None:
    sql = questions.questions()[title]
    large = await large_tables(filled)
    assert len(large) >= 6
    for text in dict.fromkeys((sql, rare(sql))):
        plan = await explain(filled, text)
        scans = {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"}
        assert not scans & large, text
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < BLOCKS, text
    assert await filled.fetch(sql), "the page asks for something that is stored"


async def test_the_newest_of_a_rare_account_are_its_own(filled: asyncpg.Connection) -> None:
    rows = await filled.fetch(rare(questions.questions()["The newest events of an account"]))
    expected = await filled.fetch(
        "SELECT received_at, key FROM crossdock.documents WHERE account = 'acme' ORDER BY received_at DESC LIMIT 50"
    )
    assert {row["key"] for row in rows} == {row["key"] for row in expected}
    assert [row["received_at"] for row in rows] == sorted((row["received_at"] for row in rows), reverse=True)


async def test_questions_of_the_benchmark_find_stored_documents(filled: asyncpg.Connection) -> None:
    """Each question has an answer for most of the values that the benchmark puts into it."""
    chance = random.Random(1)
    for title, sql in questions.questions().items():
        answers = [await filled.fetch(questions.varied(sql, DOCUMENTS, chance)) for _ in range(6)]
        assert sum(map(bool, answers)) >= 2, title
