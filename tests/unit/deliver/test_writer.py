"""Results are written even if PostgreSQL rejects one of them, and kept while the database is unavailable."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from telemetry.background import Background
from workers.deliver import writer
from workers.deliver.writer import UNWRITABLE, AttemptWriter, Result


class Fake:
    """A database that raises the errors of `refuses`, one per statement."""

    def __init__(self, *refuses: Exception) -> None:
        self.refuses = list(refuses)
        self.rows: list[tuple[Any, ...]] = []
        self.bad: set[UUID] = set()
        self.hopeless: set[UUID] = set()

    async def pool(self) -> "Fake":
        return self

    async def execute(self, _: str, *columns: list[Any]) -> None:
        if self.refuses:
            raise self.refuses.pop(0)
        rows = list(zip(*columns, strict=True))
        if any(row[0] in self.hopeless or (row[0] in self.bad and row[7] != UNWRITABLE) for row in rows):
            raise asyncpg.CharacterNotInRepertoireError("invalid byte sequence")
        self.rows += rows


def result(number: int, error: str | None = None) -> Result:
    return Result(UUID(int=number), 1, datetime.now(UTC), "refused", 400, 1.0, b"body", error, "pending", 5.0)


async def written(database: Fake, results: Iterable[Result], count: int) -> list[UUID]:
    safe: list[UUID] = []
    enough = asyncio.Event()

    def persisted(ids: Iterable[UUID]) -> None:
        safe.extend(ids)
        if len(safe) >= count:
            enough.set()

    background = Background(on_death=lambda: None)
    results_writer = AttemptWriter(database, persisted)  # type: ignore[arg-type]
    for result in results:
        results_writer.add(result)
    results_writer.start(background)
    await asyncio.wait_for(enough.wait(), 10)
    await results_writer.drain(5)
    assert background.problems() == []
    await background.stop()
    return safe


async def test_a_result_that_postgresql_rejects_is_written_without_its_texts_and_delays_no_other() -> None:
    database = Fake()
    database.bad = {UUID(int=3)}
    database.hopeless = {UUID(int=7)}
    safe = await written(database, [result(n) for n in range(10)], 9)
    assert sorted(safe) == [UUID(int=n) for n in range(10) if n != 7]
    by_id = {row[0]: row for row in database.rows}
    assert (by_id[UUID(int=3)][6], by_id[UUID(int=3)][7]) == (b"", UNWRITABLE)
    assert by_id[UUID(int=4)][6] == b"body"


@pytest.mark.parametrize(
    "error",
    [
        OSError("refused"),
        asyncpg.OutOfMemoryError("no memory"),
        asyncpg.InterfaceError("closed"),
        asyncpg.TargetServerAttributeNotMatched("only standbys"),
    ],
)
async def test_results_wait_while_the_database_is_unavailable(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PAUSES", (0.0,))
    database = Fake(error, error, error)
    assert await written(database, [result(1), result(2)], 2) == [UUID(int=1), UUID(int=2)]
    assert [row[6] for row in database.rows] == [b"body", b"body"]
