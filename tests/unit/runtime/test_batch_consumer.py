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
    waiting = 0

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
    batches = BatchConsumer(consumer, handle, probe=probe, batch=2, wait=0, drain_timeout=0, max_batches=2)
    taking = asyncio.ensure_future(batches._take())
    under_way = []
    for _ in range(2):
        under_way.append(batches.is_saturated)
        queue.batches.put_nowait([object()])
        await handled.acquire()
    assert [*under_way, batches.is_saturated] == [False, False, True]
    await stop(*batches._batches)
    under_way = [batches.is_saturated]
    queue.batches.put_nowait([object(), object()])
    await handled.acquire()
    assert [*under_way, batches.is_saturated] == [False, True], "a full batch"
    await stop(taking, *batches._batches)


async def test_saturated_is_when_a_whole_batch_waits() -> None:
    queue = Queue()
    batches = BatchConsumer(cast(Consumer, queue), never, probe=never, batch=3, wait=0, drain_timeout=0, max_batches=2)
    looks = []
    for queue.waiting in (0, 2, 3, 4):
        looks.append(batches.is_saturated)
    assert looks == [False, False, True, True]


async def never(*args: object) -> Any:
    raise AssertionError


async def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
