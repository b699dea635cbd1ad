"""A faithful Apicbase, and workers that poll it."""

import json
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from telemetry.logs import JsonFormatter
from tests.support.apicbase import Apicbase, serving
from tests.support.polling import Lines, Start
from workers.poll import client as clients
from workers.poll.worker import PollWorker


@pytest_asyncio.fixture
async def apicbase() -> AsyncIterator[Apicbase]:
    async with serving() as api:
        yield api


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "BACK_OFF", (0.01, 0.01, 0.01, 0.01))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """The lines of polls that ended, as the log has them."""
    caplog.set_level(logging.DEBUG)
    formatter = JsonFormatter()  # without its own list of secrets: there must be none to replace
    return lambda: [
        line for record in caplog.records if (line := json.loads(formatter.format(record)))["message"] == "polled"
    ]


@pytest.fixture
def start(amqp_url: str, database_url: str) -> Start:
    return lambda settings: PollWorker(settings, amqp_url=amqp_url, database_url=database_url, per_minute=60_000)
