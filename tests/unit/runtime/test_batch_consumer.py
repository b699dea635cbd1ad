"""When a batch consumer has as much under way as it may."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from broker.consumer import Consumer, IncomingMessage
from workers.runtime.batch_consumer import BatchConsumer
from workers.runtime.outcomes import Outcome


class Queue:
    """Hands out a batch of one message whenever one is put into it."""

    queue = "crossdock.test"
    head: tuple[()] = ()

    def __init__(self) -> None:
        self.batches: asyncio.Queue[list[Any]] = asyncio.Queue()

    async def take(self, limit: int, wait: float, max_bytes: int) -> list[Any]:
        return await self.batches.get()


async def test_saturated_is_when_no_further_batch_may_begin() -> None:
    queue, handled = Queue(), asyncio.Semaphore(0)

    async def handle(batch: Sequence[IncomingMessage]) -> list[Outcome]:
        handled.release()
        await asyncio.Event().wait()
        raise AssertionError

    async def probe() -> None:
        raise AssertionError

    consumer = cast(Consumer, queue)
    batches = BatchConsumer(consumer, handle, probe=probe, batch=1, wait=0, drain_timeout=0, max_batches=2)
    taking = asyncio.ensure_future(batches._take())
    under_way = []
    for _ in range(2):
        under_way.append(batches.is_saturated)
        queue.batches.put_nowait([object()])
        await handled.acquire()
    assert [*under_way, batches.is_saturated] == [False, False, True]
    taking.cancel()
    for task in batches._batches:
        task.cancel()
    await asyncio.gather(taking, *batches._batches, return_exceptions=True)
