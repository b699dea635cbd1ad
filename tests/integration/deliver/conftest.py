"""The fixture of a subscriber's server."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.receiver import Receiver, receiver


@pytest_asyncio.fixture
async def subscriber() -> AsyncIterator[Receiver]:
    async with receiver() as listening:
        yield listening
