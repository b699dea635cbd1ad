"""Fills a database with what a pipeline of a few days holds, so that every page of the console has something to show.

Deliveries are made by a real deliver worker. Times count from now, because pages show what is late and what is quiet.
"""

import random
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from aiohttp import web

from schemas import registry
from schemas.allocation import ItemAllocation
from schemas.config import Config
from storage import activity, deliveries, polls, quarantine, transfers
from storage.database import Connection
from storage.pool import create_pool
from tests.support import delivering, pipeline, receiver, storing
from tests.support.receiver import ReceivedRequest
from workers.store.prepare import Incoming

SETTLED = ("delivered", "failed", "cancelled", "superseded")
HOURS = 3600.0
SHOPS = ("819", "845", "901")
"""Locations that transfers go to."""
SKUS = ("002_110_BLK_5", "002_110_BLK_6", "014_220_NVY_7", "031_009_RED_8", "031_009_RED_9", "077_410_TAN_6")
SILENT = "acme"
"""The account of Apicbase: it was regular, has fallen silent, and its polls fail."""
FIRST = b"STO4600000039"
"""Order number of the transfer that has the most to tell."""
REFUSAL = b'{"error": "SKU 002_110_BLK_5 is not in the catalogue of this warehouse"}'


class Seeds(msgspec.Struct, kw_only=True):
    """Names of what was stored, for the addresses of pages."""

    transfer: str
    """Order number of a transfer whose lines disagree, with two versions and deliveries of several outcomes."""
    delivery: UUID
    """A delivery that failed."""
    pending: UUID
    subscription: UUID
    """The subscription whose deliveries fail."""
    quarantined: UUID
    event: UUID
    """The message id of a receipt."""
    documents: Mapping[str, int]
    """Numbers of documents by their type: the transfer, and the newest of each other type."""
    sku: str


def ago(hours: float) -> float:
    """Return the `seconds` of `storing.incoming` for a time before now."""
    return (datetime.now(UTC) - storing.START).total_seconds() - hours * HOURS


def _day(days: float) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT00:00:00.000Z}"


def _transfer(number: int, shop: str, quantities: Sequence[int], *, due: float, **more: Any) -> dict[str, Any]:
    """Return a transfer order that is due in `due` days."""
    return {
        "purchaseOrderNumber": f"46000{number:05}",
        "warehouseOrderId": f"46000{number:05}",
        "channelOrderId": f"STO46000{number:05}",
        "purchasedAt": _day(-6),
        "status": "OPEN",
        "additionalFields": {
            "ship_by_date": _day(due - 2),
            "deliver_by_date": _day(due),
            "note_attributes_ship_from": "969",
            "note_attributes_ship_to": shop,
        },
        "customer": {
            "shippingAddress": {
                "address1": "181 Columbus Ave.",
                "city": "New York",
                "countryCode": "US",
                "name": f"Shop {shop}",
                "postalCode": "10023",
                "provinceCode": "NY",
            }
        },
        "lineItems": [
            {"id": f"{line:06}", "sku": sku, "quantity": quantity, "additionalFields": {"sap_unit_of_measure": "PR"}}
            for line, (sku, quantity) in enumerate(zip(SKUS, quantities, strict=False), 11)
        ],
        **more,
    }


def _carton(order: dict[str, Any], number: int, quantities: Sequence[float]) -> dict[str, Any]:
    """Return a ship confirmation of one carton of a transfer order."""
    fields = {
        **order["additionalFields"],
        "CartonNumber": str(number),
        "LicensePlate": f"03861494{number:02}",
        "Sscc": f"0000192249200{order['warehouseOrderId'][-5:]}{number:02}",
        "EstimatedArrivalDate": order["additionalFields"]["deliver_by_date"],
    }
    lines = [
        {**line, "quantity": quantity}
        for line, quantity in zip(order["lineItems"], quantities, strict=False)
        if quantity
    ]
    return {
        **order,
        "id": f"2089{order['warehouseOrderId'][-5:]}{number:02}",
        "shippedAt": _day(-1),
        "status": "SHIPPED",
        "shippingCompany": "FEDEX",
        "trackingNumber": f"7712{order['warehouseOrderId'][-5:]}{number:04}",
        "additionalFields": fields,
        "lineItems": lines,
    }


def _receipt(carton: dict[str, Any], *, received: Sequence[float], damaged: int = 0) -> dict[str, Any]:
    """Return a receipt confirmation of a carton."""
    lines = [
        {
            **line,
            "additionalFields": {
                **line["additionalFields"],
                "received_qty": str(quantity),
                "damaged_qty": str(damaged if line is carton["lineItems"][0] else 0),
            },
        }
        for line, quantity in zip(carton["lineItems"], received, strict=False)
    ]
    fields = {
        **carton["additionalFields"],
        "receipt_id": f"27d7b5b5-5451-470e-98cd-{int(carton['id']):012}",
        "actual_received_date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.127}",
    }
    return {**carton, "status": "RECEIVED", "additionalFields": fields, "lineItems": lines}


def stories() -> list[Incoming]:
    """Return the messages of some days, in the order in which they were received."""
    messages: list[tuple[str, str, dict[str, Any], float]] = []

    def add(event: str, body: Any, hours: float, platform: str = "channelape") -> None:
        messages.append((platform, event, body, hours))

    draw = random.Random(17)
    # The first: shipped in two cartons, six short, two damaged, changed once and repeated.
    first = _transfer(39, SHOPS[0], (100, 100, 40), due=-1)
    add("stock_transfer_order", first, 30)
    changed = _transfer(39, SHOPS[0], (100, 120, 40), due=-1, status="IN_PROGRESS")
    add("stock_transfer_order", changed, 26)
    add("stock_transfer_order", changed, 25.5)
    cartons = _carton(changed, 1, (60, 60, 40)), _carton(changed, 2, (40, 60, 0))
    for number, carton in enumerate(cartons):
        add("ship_confirmation", carton, 20 - number)
        add("advanced_ship_notice", carton, 19.5 - number)
    add("receipt_confirmation", _receipt(cartons[0], received=(54, 60, 42), damaged=2), 4)
    for number in range(40, 62):
        order = _transfer(
            number, SHOPS[number % 3], [draw.randint(1, 12) * 10 for _ in range(number % 4 + 1)], due=number % 7 - 2
        )
        add("stock_transfer_order", order, 60 - number / 2)
        amounts = [line["quantity"] for line in order["lineItems"]]
        if number % 3:
            carton = _carton(order, 1, amounts)
            add("ship_confirmation", carton, 55 - number / 2)
            if number % 3 == 2:
                add("receipt_confirmation", _receipt(carton, received=amounts), 50 - number / 2)
    for number in range(14):
        body = _example("ecomnow", "notification", "new_order_valid", f"1000-{4613 + number}")
        add("notification", body, 14 - number, "ecomnow")
    add("notification", _example("ecomnow", "notification", "order_cancellation", "1000-4615"), 0.4, "ecomnow")
    for number in range(6):
        body = _example("apicbase", "purchase_order", "purchase_order", f"PO-2026-{817 + number:05}")
        add("purchase_order", body, 40 - number, "apicbase")
    messages.sort(key=lambda message: -message[3])
    accounts = {"channelape": "rothys", "ecomnow": "shop", "apicbase": SILENT}
    stories = [
        storing.incoming(platform, event, body, seconds=ago(hours), number=number, account=accounts[platform])
        for number, (platform, event, body, hours) in enumerate(messages, 1)
    ]
    printed = registry.example("ustore", "manufacturer_allocation")
    items = msgspec.json.decode(printed)["Order"]["OrderProducts"]["OrderProduct"]
    chosen = [
        ItemAllocation(item["@id"], "2", "nearest to the shopper", "12 km; the next one is 430 km away")
        for item in items
    ]
    stories.append(
        storing.incoming(
            "ustore",
            "manufacturer_allocation",
            printed,
            seconds=ago(2),
            number=9001,
            account="printshop",
            allocations=chosen,
        )
    )
    return stories


def _example(platform: str, event: str, name: str, key: str) -> bytes:
    body, new = registry.example(platform, name), registry.platforms()[platform].with_new_key
    assert new is not None
    return new(event, body, key)


def rejects() -> list[Incoming]:
    """Return messages that belong in quarantine, of three causes."""
    causes = (
        (b'{"orderNo": "1000-4%03d", "type": "new_order", "items": [', "not JSON: the text ends at byte 57", 9),
        (b'{"orderNo": "1000-5%03d", "type": "refund"}', "unknown type `refund`", 3),
        (b'{"orderNo": "", "type": "new_order", "note": "\xff\xfe %d"}', "not UTF-8: byte 0xff at 47", 2),
    )
    return [
        storing.unreadable(raw % number, reason, seconds=ago(6 - number / 4), number=8000 + 100 * place + number)
        for place, (raw, reason, count) in enumerate(causes)
        for number in range(count)
    ]


@asynccontextmanager
async def subscribers(settings: Config, database_url: str) -> AsyncIterator[str]:
    """Run a deliver worker, and a server that takes what is sent to /ok and refuses some of the rest."""

    def answer(request: ReceivedRequest) -> web.Response:
        is_taken = request.path.startswith("/down") and FIRST not in request.body and zlib.crc32(request.body) % 4
        if request.path.startswith("/ok") or is_taken:
            return web.Response(text="taken")
        # A 422 closes a breaker, which would keep back the rest.
        status = 422 if request.path.startswith("/down") else 503
        return web.Response(status=status, body=REFUSAL, content_type="application/json")

    worker = delivering.worker(database_url, settings)
    async with receiver.receiver() as server:
        server.answer = answer
        async with pipeline.running(worker):
            yield server.url


async def seed(database_url: str, settings: Config) -> Seeds:
    """Fill an empty database; return names of what it holds then."""
    pool = await create_pool(database_url, size=4)
    try:
        async with subscribers(settings, database_url) as url:
            failing = await _store(pool, settings, url)
            await pipeline.until(partial(_are_settled, pool, failing), what="deliveries of every status")
        await _cancel(pool)
        return await _seeds(pool, failing)
    finally:
        await pool.close()


async def _store(pool: asyncpg.Pool, settings: Config, url: str) -> UUID:
    subscribe = partial(receiver.subscribe, pool)
    await subscribe(f"{url}/ok/orders?key=hidden", subscriber="other", max_rate=500.0)
    failing = await subscribe(
        f"{url}/down/inventory", subscriber="boards", accounts=["channelape/rothys"], schedule=[0.0, 0.01]
    )
    await subscribe(
        f"{url}/later",
        subscriber="boards",
        types=["channelape.stock_transfer_order"],
        accounts=["channelape/rothys"],
        schedule=[0.0, 7200.0],
    )
    paused = await subscribe(f"{url}/ok/paused", subscriber="other", types=["ecomnow.*"], enabled=False)
    await pool.execute("UPDATE crossdock.subscribed SET disabled_reason = $2 WHERE id = $1", paused, "by its owner")
    batch = stories()
    for start in range(0, len(batch), 20):
        await delivering.store(pool, *batch[start : start + 20], settings=settings)
    await delivering.store(pool, *rejects(), settings=settings)
    async with pool.acquire() as connection:
        while await transfers.apply_changes(connection) is not None:
            pass
        await _arrivals(connection)
        await polls.register(connection, "apicbase", [SILENT])
        await connection.execute(
            "UPDATE crossdock.polls SET failures = 4, last_error = '401 Unauthorized: the API key was refused', "
            "last_ok_at = now() - interval '3 hours'"
        )
        listed = await quarantine.entries(connection, everything=False, limit=2)
        await quarantine.discard_all(connection, [row["id"] for row in listed[:1]])
    return failing


async def _arrivals(connection: Connection) -> None:
    """Store two weeks of hourly counts; one account stopped six hours ago."""
    draw = random.Random(3)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = [
        (
            platform,
            account,
            start := hour - timedelta(hours=back),
            count,
            start + timedelta(seconds=20),
            start + timedelta(minutes=48),
        )
        for platform, account, usual, silent in (
            ("channelape", "rothys", 60, 1),
            ("ecomnow", "shop", 25, 1),
            ("ustore", "printshop", 4, 1),
            ("apicbase", SILENT, 12, 30),
        )
        for back in range(silent, 14 * 24)
        if (count := draw.randint(usual // 2, usual)) and back % 24 < 18
    ]
    await activity.add(connection, rows)


async def _are_settled(pool: asyncpg.Pool, failing: UUID) -> bool:
    """Return whether every delivery that can end has ended, and one of the rest has been attempted."""
    return bool(
        await pool.fetchval(
            "SELECT count(*) FILTER (WHERE d.status = 'pending' AND (s.url LIKE '%/ok/orders%' OR s.id = $1)) = 0 "
            "AND count(*) FILTER (WHERE d.status = 'pending' AND d.attempts > 0) > 3 "
            "FROM crossdock.deliveries d JOIN crossdock.subscribed s ON s.id = d.subscription_id",
            failing,
        )
    )


async def _cancel(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        for row in (await deliveries.listing(connection, subscriber=None, status="pending"))[:2]:
            await deliveries.cancel(connection, row["id"], None)


async def documents(connection: Connection, key: str) -> dict[str, int]:
    """Return the number of the transfer with this key, and of the newest document of each other type."""
    rows = await connection.fetch(
        "SELECT type, coalesce(max(id) FILTER (WHERE key = $1), max(id)) AS id FROM crossdock.documents "
        "GROUP BY type ORDER BY bool_or(key = $1) DESC, type",
        key,
    )
    return {row["type"]: row["id"] for row in rows}


async def _seeds(pool: asyncpg.Pool, failing: UUID) -> Seeds:
    number = FIRST.decode()
    async with pool.acquire() as connection:
        failed = await deliveries.listing(connection, subscriber=None, status="failed", key=number)
        pending = await deliveries.listing(connection, subscriber=None, status="pending")
        waiting = await quarantine.entries(connection, everything=False, limit=1)
        event = await connection.fetchval("SELECT message_id FROM crossdock.receipts ORDER BY received_at DESC LIMIT 1")
        numbers = await documents(connection, number)
    return Seeds(
        transfer=number,
        delivery=failed[0]["id"],
        pending=pending[0]["id"],
        subscription=failing,
        quarantined=waiting[0]["id"],
        event=event,
        documents=numbers,
        sku=SKUS[0],
    )
