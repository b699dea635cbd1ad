"""Connections of commands: opened on the first node that responds, for one task, which is repeated if it must be."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed
from yarl import URL

from broker.connection import CONNECT_TIMEOUT, addresses, connect, describe, redacted
from broker.declare import NO_STREAMS, TopologyError, is_missing, lacks_streams

PATIENCE = 60.0
"""Maximum seconds to wait for queues that exist but have no leader.

After a start RabbitMQ accepts connections first, and elects the leaders of streams and quorum queues in the following
seconds.
"""
PAUSE = 0.5
STEP_TIMEOUT = 30.0
"""Maximum seconds for one pass over everything; a queue without a leader may leave a request unanswered."""

T = TypeVar("T")


async def open_first(url: str) -> AbstractConnection:
    """Return a connection to the first node that responds; raises TopologyError if none does."""
    problems = []
    for address in addresses(url):
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await connect(URL(address).update_query(name="crossdock topology"))
        except (OSError, TimeoutError, AMQPError) as error:
            text = describe(error) if isinstance(error, AMQPError) else error or type(error).__name__
            problems.append(f"{redacted(address)}: {text}")
    raise TopologyError(f"RabbitMQ can't be reached at {'; '.join(problems)}: check AMQP_URL and that the node runs")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AbstractConnection]:
    """Connect to the first node that responds; raises TopologyError if none does."""
    connection = await open_first(url)
    try:
        yield connection
    finally:
        with suppress(OSError, TimeoutError, AMQPError):  # the broker may have closed it because of an error
            await connection.close()


async def patiently(
    url: str, work: Callable[[AbstractConnection], Awaitable[T]], *, patience: float | None = None
) -> T:
    """Run `work` until every queue that it needs has a leader; `work` must be safe to repeat.

    Waits at most `patience` seconds, `PATIENCE` by default. Raises TopologyError: at once if a queue is missing or has
    other properties, if permissions are missing, or if the broker cannot be reached on the first attempt; otherwise
    when the time is over.
    """
    patience = PATIENCE if patience is None else patience
    until = time.monotonic() + patience
    reached = False
    while True:
        try:
            async with connected(url) as connection:
                reached = True
                async with asyncio.timeout(STEP_TIMEOUT):
                    return await work(connection)
        except (ChannelAccessRefused, ConnectionNotAllowed) as error:
            raise TopologyError(f"RabbitMQ refuses: {error}; give AMQP_URL's user the rights to configure it") from None
        except ChannelNotFoundEntity as error:
            if is_missing(error):
                raise TopologyError(f"{error}: run `crossdock topology apply`") from None
            problem = str(error)
        except TopologyError as error:
            if not reached or "can't be reached" not in str(error):
                raise
            problem = str(error)
        except (OSError, TimeoutError, AMQPError) as error:
            problem = str(error) or "no answer in time"
            if lacks_streams(problem):
                raise TopologyError(NO_STREAMS) from None
        if time.monotonic() > until:
            raise TopologyError(
                f"RabbitMQ was not ready within {patience:.0f} seconds ({problem}): check that enough of its nodes run"
            )
        await asyncio.sleep(PAUSE)
