"""ChannelApe's transfer orders with their shipments and receipts, with quantities that are easy to add up."""

from typing import Any

import asyncpg

from storage import transfers
from tests.support.storing import incoming, rows
from workers.store import isolate

BLUE, RED = ("000011", "002_110_BLUE"), ("000012", "002_110_RED")
ORIGIN, DESTINATION = "969", "819"


def line(which: tuple[str, str], quantity: Any, **more: str) -> dict[str, Any]:
    return {"id": which[0], "sku": which[1], "quantity": quantity, "additionalFields": more}


def document(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    fields = {"note_attributes_ship_from": ORIGIN, "note_attributes_ship_to": DESTINATION, **more.pop("fields", {})}
    return {"channelOrderId": "STO1", "warehouseOrderId": "W1", "additionalFields": fields, "lineItems": lines, **more}


def transfer(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    return document(*(lines or (line(BLUE, 100), line(RED, 50.5))), **more)


def carton(number: str, *lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    fields = {"Sscc": number, **more.pop("fields", {})}
    return document(*lines, **{"id": "S1", "shippedAt": "2026-11-11T08:00:00.000Z", **more}, fields=fields)


def receipt(number: str, *lines: dict[str, Any], when: str = "2026-11-12T10:00:00.500", **more: Any) -> dict[str, Any]:
    fields = {"receipt_id": number, "actual_received_date": when, **more.pop("fields", {})}
    return document(*lines, **{"id": "S1", **more}, fields=fields)


async def store(pool: asyncpg.Pool, *documents: tuple[str, Any]) -> None:
    """Store ChannelApe documents that were received one second after the other."""
    seconds = await pool.fetchval("SELECT count(*) FROM crossdock.receipts")
    batch = [incoming("channelape", event, body, seconds=seconds + n) for n, (event, body) in enumerate(documents)]
    await isolate.write_isolating(pool, batch)


async def computed(pool: asyncpg.Pool) -> dict[str, dict[str, Any]]:
    """Compute everything, and return the rows of the view `transfers` by order."""
    async with pool.acquire() as connection:
        while await transfers.apply_changes(connection) is not None:
            pass
    return {row["channel_order_id"]: row for row in await rows(pool, "transfers")}


async def progress(pool: asyncpg.Pool) -> dict[str, dict[str, Any]]:
    return {row["line_id"]: row for row in await rows(pool, "transfer_progress")}
