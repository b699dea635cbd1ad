"""The jobs of a store worker beside storing: an erasure, transfers, the back-fill."""

import asyncio

import asyncpg
import msgspec
import pytest

from storage import erasure, transfers
from tests.support import pipeline
from tests.support.pipeline import until


async def test_jobs_that_take_long_keep_no_message_waiting(
    amqp_url: str, database_url: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure by age may take hours, and transfers minutes; with `connections = 1` storing had none left."""
    begun = 0

    async def hold(*_: object) -> None:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()

    monkeypatch.setattr(erasure, "stalled", hold)
    monkeypatch.setattr(transfers, "apply_changes", hold)
    settings = pipeline.config()
    settings = msgspec.structs.replace(settings, store=msgspec.structs.replace(settings.store, connections=1))
    async with (
        pipeline.running(pipeline.store(amqp_url, database_url, settings)),
        pipeline.door(amqp_url, settings) as door,
    ):

        async def both_hold() -> bool:
            return begun == 2

        await until(both_hold, what="both jobs hold a connection")
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200

        async def stored() -> bool:
            return bool(await database.fetchval("SELECT count(*) = 1 FROM crossdock.events"))

        await until(stored, what="the receipt is stored")
