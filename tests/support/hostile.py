"""Texts that try to run as script or to break a page, in every field that others can set."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from schemas import registry
from schemas.allocation import ItemAllocation
from schemas.config import Config
from storage import actions, polls, transfers
from storage.actions import Actor
from storage.database import Connection
from storage.pool import create_pool
from tests.support import delivering, receiver, seeding, storing

MARK = "hostile"
"""Class of every element and name of every variable that a hostile text tries to make."""
TEXTS = (
    f"<script class={MARK}>window.{MARK}=1</script>",
    f'"><img class={MARK} src=x onerror=window.{MARK}=1>',
    f"'><svg class={MARK} onload=window.{MARK}=1>",
    f"javascript:window.{MARK}=1//",
    f"</textarea></title></pre><b class={MARK}>",
    "{{ 7 * 191 }}{% raw %}",
    "\u202egnip\u2066 \u200fabc",
    "&lt;b&gt;&#60;\\u003cb\\u003e",
)
ALL = " ".join(TEXTS)
ENVIRONMENT = f'"><img class={MARK} src=x>'
NAME = f'"><b class={MARK}> \u202egnip\u2066 {{{{7*191}}}} &lt;b&gt; <script>{MARK}=1</script>'
"""For what identifies a document, of which no more than 512 bytes are kept."""
KEY = f"K-{NAME}"
LONG = "W" * 100_000
"""One word; a page must cut or break it."""
BROKEN = b'{"orderNo": "\xff\xfe\x00\x1b[31m' + ALL.encode() + b'", "x": "' + b"\xf0\x28\x8c\x28" * 200 + LONG.encode()


def _documents() -> list[tuple[str, str, Any, str]]:
    """Return documents, each with its platform, its event and its account."""
    line = {"id": NAME, "sku": ALL, "quantity": "1e300", "additionalFields": {"received_qty": ALL, "note": LONG}}
    order = {
        "purchaseOrderNumber": NAME,
        "warehouseOrderId": NAME,
        "channelOrderId": KEY,
        "purchasedAt": ALL,
        "status": LONG,
        "additionalFields": {
            "note_attributes_ship_from": NAME,
            "note_attributes_ship_to": NAME,
            "deliver_by_date": ALL,
            "Sscc": NAME,
            "receipt_id": NAME,
        },
        "customer": {"shippingAddress": {"name": ALL, "address1": LONG}},
        "lineItems": [line, {**line, "id": "2", "quantity": 3, "sku": LONG}],
        ALL: ALL,
    }
    food = msgspec.json.decode(registry.example("apicbase", "purchase_order"))
    food |= {"id": NAME, "order_number": NAME, "order_remarks": LONG, "status": ALL}
    food["packages"][0]["stock_item"]["name"] = ALL
    shop = {
        "orderNo": KEY,
        "type": "new_order",
        "items": [{"skuNr": ALL, "itemName": LONG, "itemQuantity": 2, "itemPrice": 60.0, "itemTotal": 120.0}],
    }
    return [
        ("channelape", "stock_transfer_order", order, "rothys"),
        ("channelape", "stock_transfer_order", {**order, "status": ALL, "lineItems": [line]}, "rothys"),
        ("channelape", "ship_confirmation", {**order, "id": NAME, "trackingNumber": ALL}, "rothys"),
        ("channelape", "receipt_confirmation", {**order, "id": NAME}, "rothys"),
        ("apicbase", "purchase_order", food, seeding.SILENT),
        ("ecomnow", "notification", shop, "shop"),
    ]


async def seed(database_url: str, settings: Config) -> seeding.Seeds:
    """Add hostile texts to every field that platforms, subscribers, operators and the configuration set."""
    pool = await create_pool(database_url, size=2)
    try:
        subscription = await receiver.subscribe(
            pool, f"https://h.example/{ALL.replace(' ', '')}", subscriber="boards", types=["*"], schedule=[0.0, 7200.0]
        )
        seconds = seeding.ago(1.5)
        batch = [
            storing.incoming(platform, event, body, seconds=seconds, number=7000 + number, account=account)
            for number, (platform, event, body, account) in enumerate(_documents())
        ]
        order = registry.example("ustore", "manufacturer_allocation_one_item")
        chosen = [ItemAllocation("3087", ALL, ALL, ALL)]
        batch.append(
            storing.incoming(
                "ustore",
                "manufacturer_allocation",
                order,
                seconds=seconds,
                number=7100,
                account="printshop",
                allocations=chosen,
            )
        )
        batch.append(storing.unreadable(BROKEN, ALL + LONG[:1000], seconds=seconds, number=7200))
        await delivering.store(pool, *batch, settings=settings)
        async with pool.acquire() as connection:
            while await transfers.apply_changes(connection) is not None:
                pass
            return await _answers(connection, subscription)
    finally:
        await pool.close()


async def _answers(connection: Connection, subscription: UUID) -> seeding.Seeds:
    """Store what subscribers answer and operators enter, as no subscriber in a test can answer everywhere."""
    await connection.execute(
        "UPDATE crossdock.subscribed SET types = types || $2::text[], disabled_reason = $3, enabled = false "
        "WHERE id = $1",
        subscription,
        [ALL],
        ALL,
    )
    await polls.register(connection, "apicbase", [seeding.SILENT])
    await connection.execute("UPDATE crossdock.polls SET failures = 4, last_error = $1, last_ok_at = now()", ALL)
    delivery = await connection.fetchval(
        "SELECT id FROM crossdock.deliveries WHERE subscription_id = $1 AND key = $2 LIMIT 1", subscription, KEY
    )
    await connection.execute(
        "INSERT INTO crossdock.attempts (delivery_id, attempt, at, outcome, status_code, duration_ms, response, error) "
        "VALUES ($1, 1, $2, 'refused', 500, 12, $3, $4)",
        delivery,
        datetime.now(UTC),
        (ALL + LONG)[:4000].encode() + b"\xff\xfe",
        ALL,
    )
    actor = Actor(ALL, "act", ALL)
    await actions.record(connection, actor, "deliveries.retry", subject=ALL, count=7, note=ALL)
    return seeding.Seeds(
        transfer=KEY,
        delivery=delivery,
        pending=delivery,
        subscription=subscription,
        quarantined=UUID(int=7200),
        event=UUID(int=7000),
        documents=await seeding.documents(connection, KEY),
        sku=ALL,
    )
