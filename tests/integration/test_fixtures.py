"""What the tests share does not depend on what one of them replaces."""

from typing import Never

import asyncpg
import pytest

from deploy.local.postgres import Postgres
from tests.conftest import Databases


async def test_databases_are_made_while_a_test_replaces_methods(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases = Databases(postgres)
    names: set[str] = set()
    try:
        with monkeypatch.context() as patch:
            for name in ("execute", "fetch", "fetchrow", "fetchval"):
                patch.setattr(asyncpg.Connection, name, broken)
            patch.setattr(asyncpg, "connect", broken)
            names = {await databases.take() for _ in range(5)}  # more than are made ahead
        assert len(names) == 5
    finally:
        for url in names:
            databases.give_back(url)
        await databases.close()


async def test_databases_are_made_again_after_a_failure(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    databases = Databases(postgres)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("tests.conftest.connect", broken)
            with pytest.raises(ZeroDivisionError):
                await databases.take()
        connection = await asyncpg.connect(await databases.take())
        await connection.close()
    finally:
        await databases.close()


async def broken(*_: object, **__: object) -> Never:
    raise ZeroDivisionError
