"""A request that ends the route worker that reads it: nobody else waits for it, and it doesn't circulate."""

import asyncio
import json
import os
import signal
from typing import Any

import aiormq
import msgspec
import pytest

from schemas import topology
from schemas.config import Config
from tests.support import pipeline
from tests.support.pipeline import running, until
from workers.route import answers
from workers.runtime import rehearsal

QUEUE = topology.reply_queue("ustore")


def order(name: str) -> bytes:
    products = [{"@id": f"{name}-1", "@OrderProductId": "1"}]
    return json.dumps({"Order": {"@OrderId": name, "OrderProducts": {"OrderProduct": products}}}).encode()


def config() -> Config:
    manufacturers = [{"id": "2", "name": "Two"}]
    rules = [{"name": "all", "split": {"2": 100}}]
    account = {
        "secrets": ["s"], "answer_timeout": 6.0, "fallback": "refuse", "manufacturers": manufacturers, "rules": rules,
    }  # fmt: skip
    return pipeline.config({"accounts": {"ustore": {"printshop": account}}})


async def take_and_die(amqp_url: str, count: int) -> None:
    """A route worker that takes everything and dies."""
    connection = await aiormq.connect(amqp_url)
    channel = await connection.channel()
    taken = asyncio.Semaphore(0)

    async def take(message: aiormq.abc.DeliveredMessage) -> None:
        taken.release()

    await channel.basic_consume(QUEUE, take)
    for _ in range(count):
        await taken.acquire()
    await connection.close()


async def depth(amqp_url: str) -> int:
    connection = await aiormq.connect(amqp_url)
    try:
        channel = await connection.channel()
        return (await channel.queue_declare(QUEUE, passive=True)).message_count or 0
    finally:
        await connection.close()


async def test_shoppers_beside_a_request_that_ends_its_reader_are_answered(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "PAUSES", (0.0, 0.0, 0.0))
    answerer, here = answers.answerers()["ustore"], os.getpid()

    def poisoned(request: Any, raw: bytes, account: Any) -> Any:
        if b'"poison"' in raw:
            assert os.getpid() != here, "the worker itself never reads it"
            os.kill(os.getpid(), signal.SIGSEGV)
        return answerer.answer(request, raw, account)

    poisonous = {"ustore": msgspec.structs.replace(answerer, answer=poisoned)}
    monkeypatch.setattr(answers, "answerers", lambda: poisonous)
    settings = config()
    async with pipeline.door(amqp_url, settings) as door:
        await until(lambda: door.app._link.is_open)
        names = ["a", "poison", "b", "c"]
        posts = [asyncio.create_task(door.post("ustore", "manufacturer_allocation", order(name))) for name in names]
        await take_and_die(amqp_url, len(names))
        async with running(pipeline.route(amqp_url, settings)):
            for name, post in zip(names, posts, strict=True):
                if name != "poison":
                    assert (await post)[0] == 200, name
            # It is settled, and the store worker, which has a copy, deals with it.
            await until(lambda: _settled(amqp_url))
        posts[1].cancel()


async def _settled(amqp_url: str) -> bool:
    return await depth(amqp_url) == 0
