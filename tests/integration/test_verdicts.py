"""One verdict per Apicbase order: what its customer was told is what becomes of it."""

from typing import Any
from uuid import uuid4

import aiormq
import asyncpg
import pytest

from schemas import envelope, registry, topology
from schemas.config import Config
from schemas.envelope import Envelope
from tests.support import pipeline
from tests.support.pipeline import running, until

EVENT = "purchase_order"


def config(articles: list[str] | None, *, timeout: float = 5.0) -> Config:
    account: dict[str, Any] = {"secrets": ["s"], "verdict_timeout": timeout}
    if articles is not None:
        account["articles"] = articles
    return pipeline.config({"accounts": {"apicbase": {"acme": account}}})


def known() -> list[str]:
    """The articles of the example."""
    reading = registry.platforms()["apicbase"].read(EVENT, registry.example("apicbase", EVENT))
    return [line.article for line in reading.lines if line.article]


OLD, NEW = ["something else"], known()


async def counts(database: asyncpg.Connection) -> tuple[int, int]:
    return (
        await database.fetchval("SELECT count(*) FROM crossdock.events"),
        await database.fetchval("SELECT count(*) FROM crossdock.quarantine WHERE stage = 'refused'"),
    )


@pytest.mark.parametrize(
    ("route", "store", "status", "stored"),
    [(NEW, OLD, 200, (1, 0)), (OLD, NEW, 422, (0, 1))],
    ids=["accepted, and store has the old list", "refused, and store has the new list"],
)
async def test_two_configurations_come_to_one_verdict(
    amqp_url: str,
    database_url: str,
    database: asyncpg.Connection,
    route: list[str],
    store: list[str],
    status: int,
    stored: tuple[int, int],
) -> None:
    async with (
        running(pipeline.route(amqp_url, config(route)), pipeline.store(amqp_url, database_url, config(store))),
        pipeline.door(amqp_url, config(NEW)) as door,
    ):
        assert (await door.post("apicbase", EVENT))[0] == status
        await until(lambda: _are(database, stored), what="what the customer was told")


async def test_an_order_that_was_accepted_without_a_verdict_is_not_refused_later(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    async with pipeline.door(amqp_url, config(OLD, timeout=0.3)) as door:
        assert (await door.post("apicbase", EVENT))[0] == 200
    async with running(pipeline.store(amqp_url, database_url, config(OLD))):
        await until(lambda: _are(database, (1, 0)), what="the order")


async def test_polled_orders_are_judged_by_the_store_worker(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    """An order that was polled: nobody can be told, so that a person must."""
    meta = Envelope(
        message_id=str(uuid4()), platform="apicbase", account="acme", event=EVENT, received_at=envelope.now()
    )
    connection = await aiormq.connect(amqp_url)
    channel = await connection.channel()
    raw = registry.example("apicbase", EVENT)
    await channel.basic_publish(raw, routing_key=topology.STORE, properties=envelope.to_properties(meta))
    await connection.close()
    async with running(pipeline.store(amqp_url, database_url, config(OLD))):
        await until(lambda: _are(database, (0, 1)), what="quarantine")


async def _are(database: asyncpg.Connection, expected: tuple[int, int]) -> bool:
    return await counts(database) == expected
