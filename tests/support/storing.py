"""Makes messages for the store worker, and reads the views."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from schemas import documents, registry
from schemas.allocation import ItemAllocation
from schemas.envelope import Envelope
from workers.store.prepare import Incoming

START = datetime(2026, 11, 10, 12, tzinfo=UTC)

VIEWS = {
    "events": "id, platform, account, type, key, version, received_at, times_received, last_received_at, body, raw, "
    "flags",
    "current_events": "id, platform, account, type, key, version, received_at, times_received, last_received_at, "
    "body, raw, flags",
    "transfer_progress": "account, channel_order_id, line_id, sku, ordered, shipped, announced, received, damaged, "
    "outstanding, cartons, first_shipped_at, last_received_at, flags",
    "transfers": "account, channel_order_id, purchase_order_number, ship_from, ship_to, ordered, shipped, announced, "
    "received, damaged, outstanding, cartons, state, due_at, late, placed_at, last_activity_at, flags",
    "orders": "platform, account, order_number, line, article, name, quantity, cancelled, unit_price, total, placed_at",
    "allocations": "account, order_id, order_product_id, manufacturer_id, rule, allocated_at",
    "quarantine": "id, platform, account, event, reason, received_at, raw, replayed_at, discarded_at",
}
"""The contract's columns, but for stored_at, which says when the machine had time."""


def at(seconds: float) -> datetime:
    """A moment, seconds after the beginning of every story here."""
    return START + timedelta(seconds=seconds)


def incoming(
    platform: str,
    event: str,
    body: Any,
    *,
    seconds: float = 0.0,
    number: int | None = None,
    account: str = "acme",
    allocations: Sequence[ItemAllocation] | None = None,
    again: bool = False,
) -> Incoming:
    """Return a message as the store worker prepares it. `body`: bytes, or a value to encode. `number`: its id."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    name = UUID(int=int(seconds * 1000) + 1 if number is None else number)
    envelope = Envelope(
        message_id=str(name),
        platform=platform,
        account=account,
        event=event,
        received_at=at(seconds),
        content_type="application/json",
        traceparent=f"00-{name.hex}-00000000000000ff-01",
    )
    document = documents.describe(registry.platforms()[platform], event, raw)
    return Incoming(envelope, name, raw, document, allocations=allocations, may_be_stored=again)


def unreadable(raw: bytes, reason: str, *, seconds: float = 0.0, number: int | None = None) -> Incoming:
    """Return a message that belongs in quarantine."""
    name = UUID(int=int(seconds * 1000) + 1 if number is None else number)
    envelope = Envelope(
        message_id=str(name), platform="ecomnow", account="acme", event="notification", received_at=at(seconds)
    )
    return Incoming(envelope, name, raw, None, reason)


async def rows(connection: asyncpg.Connection | asyncpg.Pool, view: str) -> list[dict[str, Any]]:
    """Return all rows of a view, sorted by their content."""
    columns = VIEWS[view]
    records = [dict(row) for row in await connection.fetch(f"SELECT {columns} FROM crossdock.{view}")]  # noqa: S608 - ours
    return sorted(records, key=lambda row: [str(value) for value in row.values()])


async def everything(connection: asyncpg.Connection | asyncpg.Pool) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every view in VIEWS."""
    return {view: await rows(connection, view) for view in VIEWS}
