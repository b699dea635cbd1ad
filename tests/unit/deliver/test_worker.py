"""Background tasks of the deliver worker continue after a time without a primary database."""

import asyncio
from typing import Any

import asyncpg
import pytest

from storage.vault import Vault
from tests.support.receiver import config
from workers.deliver import notifications
from workers.deliver.worker import DeliverWorker


async def test_notifications_are_received_again_after_a_fail_over_in_which_only_standbys_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`target_session_attrs` then raises an InternalClientError, which is not a PostgresError."""
    again = asyncio.Event()
    calls = 0

    async def connect(*_: Any, **__: Any) -> asyncpg.Connection:
        nonlocal calls
        calls += 1
        if calls == 3:
            again.set()
        raise asyncpg.TargetServerAttributeNotMatched("none of the hosts match the target attribute requirement")

    monkeypatch.setattr(asyncpg, "connect", connect)
    monkeypatch.setattr(notifications, "PAUSE", 0.0)
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    worker = DeliverWorker(config(), database_url=url, vault=Vault.from_text(Vault.generate()))
    listening = worker._background.start(worker.notifications.run(), name="listen")
    await asyncio.wait_for(again.wait(), 10)
    assert not listening.done()
    assert worker._background.problems() == []
    await worker._background.stop()
