"""A subscriber."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.receiver import Receiver, receiver


@pytest_asyncio.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found
