"""What a thousand messages cost, in counts that no machine's speed moves: frames, round trips, steps of tasks.

A guard: whoever makes the hot path do more for a message than it did finds out here, and not in a benchmark.
"""

import asyncio
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from schemas import registry
from tests.support import pipeline, wire
from tests.support.pipeline import RunningIngress, until

MESSAGES = 1000
LOOK, LOOK_STEPS = 100, 500
"""Method frames and steps of a look at the depth of every queue, which goes on beside."""
CONNECTIONS = 50
ANSWERS = 200


class _Counting(Coroutine[Any, Any, Any]):
    """A coroutine that counts how often its task is resumed."""

    def __init__(self, inner: Coroutine[Any, Any, Any], steps: "Steps") -> None:
        self._inner = inner
        self._steps = steps

    def send(self, value: Any) -> Any:
        self._steps.count += 1
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        self._steps.count += 1
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise AssertionError("only tasks run it")


class Steps:
    """Steps of tasks of the program's own: those whose code is not the test's."""

    def __init__(self) -> None:
        self.count = 0

    def factory(self, loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> "asyncio.Task[Any]":
        code = getattr(coro, "cr_code", None)
        own = code is not None and "/tests/" not in code.co_filename and "tests/" not in code.co_filename
        return asyncio.Task(_Counting(coro, self) if own else coro, loop=loop, **more)


@contextmanager
def counting() -> Iterator[Steps]:
    """Of tasks that begin within."""
    loop, steps = asyncio.get_running_loop(), Steps()
    before = loop.get_task_factory()
    loop.set_task_factory(steps.factory)
    try:
        yield steps
    finally:
        loop.set_task_factory(before)


def bodies(count: int) -> list[bytes]:
    platform = registry.platforms()["channelape"]
    assert platform.with_new_key is not None
    raw = registry.example("channelape", "receipt_confirmation")
    return [platform.with_new_key("receipt_confirmation", raw, f"{n:032x}") for n in range(count)]


async def post_all(door: RunningIngress, posts: list[bytes]) -> None:
    """Over kept connections, each with one request at a time, by a client that makes no tasks of its own a request."""
    settings = door.config.accounts["channelape"]["rothys"]
    platform = registry.platforms()["channelape"]
    path = "/hooks/channelape/rothys/receipt-confirmations"

    async def client(own: list[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.app.port)
        for raw in own:
            signed = platform.sign(raw, settings)
            query = "&".join(f"{name}={value}" for name, value in signed.query.items())
            head = f"POST {path}?{query} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
            answer = await reader.readuntil(b"}")
            assert answer.startswith(b"HTTP/1.1 200"), answer
        writer.close()

    await asyncio.gather(*(client(posts[n::CONNECTIONS]) for n in range(CONNECTIONS)))


async def test_what_accepting_costs(amqp_url: str) -> None:
    async with wire.counted(amqp_url) as broker:
        with counting() as steps:
            async with pipeline.door(broker.url) as door:
                await post_all(door, bodies(CONNECTIONS))  # connections are open, caches filled
                broker.reset()
                steps.count = 0
                await post_all(door, bodies(MESSAGES))
                count = steps.count
    assert broker.sent["header"] == broker.sent["body"] == MESSAGES
    assert broker.sent["method"] <= MESSAGES + LOOK
    assert broker.received["method"] <= MESSAGES / 4 + LOOK, "confirms of several"
    assert broker.round_trips <= MESSAGES / 4, "several requests leave in one write"
    # A post that is whole is no task's business (`ingress.hooks.fast_path`); connections are.
    assert count <= 5 * CONNECTIONS + LOOK_STEPS


async def test_what_answering_costs(amqp_url: str) -> None:
    platform = registry.platforms()["ustore"]
    raw = registry.example("ustore", "manufacturer_allocation")
    path = "/hooks/ustore/printshop/manufacturer-allocations"
    async with wire.counted(amqp_url) as outside, wire.counted(amqp_url) as inside:
        with counting() as steps:
            async with pipeline.door(outside.url) as door, pipeline.running(pipeline.route(inside.url)):
                settings = door.config.accounts["ustore"]["printshop"]

                async def ask(count: int) -> None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", door.app.port)
                    signed = platform.sign(raw, settings)
                    names = "".join(f"{name}: {value}\r\n" for name, value in signed.headers.items())
                    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{names}Content-Length: {len(raw)}\r\n\r\n".encode()
                    for _ in range(count):
                        writer.write(head + raw)
                        answer = await reader.readuntil(b"}")
                        assert answer.startswith(b"HTTP/1.1 200"), answer
                    writer.close()

                await ask(5)
                outside.reset()
                inside.reset()
                steps.count = 0
                await asyncio.gather(*(ask(ANSWERS // 10) for _ in range(10)))
                step_count = steps.count
    assert outside.sent["header"] == outside.received["header"] == ANSWERS, "a request and its answer"
    # The last may not be settled yet.
    assert inside.received["header"] <= ANSWERS, "nothing comes back as unroutable"
    assert 2 * ANSWERS - 10 <= inside.sent["header"] <= 2 * ANSWERS, "a record and an answer"
    # The door makes no task of it; the worker one, for what is left to do when the answer is on its way.
    assert step_count <= 4 * ANSWERS + LOOK_STEPS


async def test_what_storing_costs(amqp_url: str, database_url: str, database: asyncpg.Connection) -> None:
    async with pipeline.door(amqp_url) as door:
        await post_all(door, bodies(MESSAGES))
    async with wire.counted(amqp_url) as broker, wire.counted(database_url) as server:
        with counting() as steps:
            async with pipeline.running(pipeline.store(broker.url, server.url)):
                await until(lambda: database.fetchval("SELECT count(*) = $1 FROM crossdock.receipts", MESSAGES))
    assert broker.received["header"] == broker.received["body"] == MESSAGES, "delivered once"
    assert broker.sent["header"] == broker.sent["body"] == MESSAGES, "announced once"
    assert broker.sent["method"] <= MESSAGES + 40 + LOOK, "a batch is acked with one frame"
    assert broker.received["method"] <= MESSAGES + MESSAGES / 4 + LOOK, "confirms of several"
    # Four to six batches, and what a worker does once: connecting, preparing statements, partitions.
    assert server.round_trips <= 300
    assert steps.count <= MESSAGES / 2 + LOOK_STEPS
