"""A running pipeline, and a database with nothing in it."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest_asyncio

from deploy.local.postgres import Postgres
from tests.support import pipeline


@pytest_asyncio.fixture
async def url(amqp_url: str, database_url: str) -> AsyncIterator[str]:
    """A running pipeline's ingress."""
    async with (
        pipeline.running(pipeline.store(amqp_url, database_url), pipeline.route(amqp_url)),
        pipeline.door(amqp_url) as door,
    ):
        yield f"http://127.0.0.1:{door.app.port}"


@pytest_asyncio.fixture
async def empty_database_url(postgres: Postgres) -> AsyncIterator[str]:
    name, base = f"empty_{uuid4().hex}", postgres.url.rsplit("/", 1)[0]
    connection = await asyncpg.connect(f"{base}/postgres")
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield f"{base}/{name}"
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()
