"""What counts as the database's trouble, and what as a row's."""

import asyncpg
import pytest
from asyncpg import exceptions

from storage.database import Database, explain, is_row_error, is_unavailable

ROW_CLASSES = ("22", "23", "54")
ALL = sorted(
    {
        (kind.sqlstate, kind.__name__): kind
        for kind in vars(exceptions).values()
        if isinstance(kind, type) and issubclass(kind, asyncpg.PostgresError) and getattr(kind, "sqlstate", None)
    }.values(),
    key=lambda kind: (str(kind.sqlstate), kind.__name__),
)


def test_every_sqlstate_is_either_about_a_row_or_about_the_database() -> None:
    assert len(ALL) > 200
    for kind in ALL:
        error = kind("no")
        row = str(kind.sqlstate)[:2] in ROW_CLASSES
        assert (is_row_error(error), is_unavailable(error)) == (row, not row), kind


@pytest.mark.parametrize(
    "error",
    [
        OSError(),
        ConnectionResetError(),
        TimeoutError(),
        asyncpg.InterfaceError("closed"),
        exceptions.TargetServerAttributeNotMatched("only standbys"),
        asyncpg.InternalClientError("protocol"),
        asyncpg.PostgresError("of a class that PostgreSQL has not invented yet"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_connection_errors_never_count_as_errors_about_a_row(error: Exception) -> None:
    assert is_unavailable(error)
    assert not is_row_error(error)


def test_errors_of_our_own_code_are_neither() -> None:
    assert not is_unavailable(KeyError("x"))
    assert not is_row_error(KeyError("x"))


def test_an_explanation_is_one_line_with_the_sqlstate() -> None:
    assert explain(asyncpg.OutOfMemoryError("out of shared memory\nHINT: more")) == (
        "OutOfMemoryError 53200: out of shared memory"
    )
    assert explain(TimeoutError()) == "TimeoutError"


async def test_the_pool_is_made_again_after_a_failed_attempt() -> None:
    database = Database("postgresql://u@127.0.0.1:1/nowhere", size=1)
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            await database.pool()
    assert not database.is_open
    assert database.failed(OSError("refused")) == database.problem == "OSError: refused"
    database.worked()
    assert not database.problem
    await database.close(1)
