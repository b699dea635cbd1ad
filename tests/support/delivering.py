"""Stores events as the store worker does, runs a deliver worker, and waits for the deliveries' status."""

import zlib
from typing import Any

import asyncpg
from aiohttp import web

from schemas.config import Config
from tests.support.receiver import VAULT, config, statuses
from tests.support.storing import incoming
from workers.deliver.worker import DeliverWorker
from workers.store import isolate
from workers.store.outbox import Outbound
from workers.store.write import WriteResult

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="


QUICK = [0.0, 0.05, 0.05]


def worker(database_url: str, settings: Config | None = None) -> DeliverWorker:
    return DeliverWorker(settings or config(), database_url=database_url, vault=VAULT)


async def store(pool: asyncpg.Pool, *batch: Any, settings: Config | None = None) -> WriteResult:
    """Store a batch as the store worker does."""
    subscribers = (settings or config()).subscribers
    return await isolate.write_isolating(pool, list(batch), Outbound(subscribers, 0.0))


def receipt(key: str, *, seconds: float = 0.0, number: int | None = None, account: str = "rothys", **more: Any) -> Any:
    body = {"id": key, "additionalFields": {"receipt_id": key}, "lineItems": [], **more}
    return incoming(
        "channelape",
        "receipt_confirmation",
        body,
        seconds=seconds,
        number=number or zlib.crc32(key.encode()) + 1,
        account=account,
    )


def answering(status: int, **headers: str) -> Any:
    return lambda _: web.Response(status=status, headers={n.replace("_", "-"): v for n, v in headers.items()})


async def fetch_one(pool: asyncpg.Pool, sql: str) -> asyncpg.Record:
    row = await pool.fetchrow(sql)
    assert row is not None
    return row


async def all_are(pool: asyncpg.Pool, status: str) -> bool:
    counts = await statuses(pool)
    return set(counts) == {status}


async def none_is(pool: asyncpg.Pool, status: str) -> bool:
    return status not in await statuses(pool)
