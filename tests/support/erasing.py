"""Documents of every kind with the data of a person to erase, and a search for what is left of the data."""

import json
from collections.abc import Sequence
from typing import Any

import asyncpg

from schemas.allocation import ItemAllocation
from storage import erasure
from storage.erasure import Selection
from tests.support.storing import incoming
from workers.store.prepare import Incoming

NAME, STREET, EMAIL = "Zoë Quillfeather", "Wisteria Lane 4711", "zoe.quill@shopper.example"
TRACES = ("Quillfeather", "Wisteria", "zoe.quill")
"""The parts of each that a search looks for: they are the same in any encoding of JSON."""

TABLES = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'crossdock'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY 1
"""


def print_order(
    key: str, *, seconds: float, number: int, remark: str = "", name: str = NAME, again: bool = False
) -> Incoming:
    """Return a uStore order of a person, with the record of its allocation, whose detail names the street."""
    address = {"Name": name, "Address1": STREET, "Email": EMAIL, "Zip": "21076", "CountryName": "USA"}
    product = {"Name": f"Card of {name}", "@id": "73"}
    body = {
        "Order": {
            "@OrderId": key,
            "@DisplayOrderId": f"D{key}",
            "Remark": remark,
            "OrderProducts": {"OrderProduct": {"@id": "1", "Quantities": {"TotalUnits": "250"}, "Product": product}},
            "DeliveryInformation": {
                "Deliveries": {"ShippingAddress": address, "DeliveryItems": {"OrderProductID": "1"}}
            },
        }
    }
    allocations = [ItemAllocation("1", "2", "nearest", f"2 at 5 km ({STREET})")]
    return incoming(
        "ustore", "manufacturer_allocation", body, seconds=seconds, number=number, allocations=allocations, again=again
    )


def transfer(key: str, *, seconds: float, number: int, name: str = NAME, again: bool = False, **more: Any) -> Incoming:
    """Return a stock transfer order with a person's address."""
    body = {
        "channelOrderId": key,
        "purchaseOrderNumber": f"P{key}",
        "additionalFields": {"note_attributes_ship_from": "969", "note_attributes_ship_to": f"{name}, {STREET}"},
        "customer": {"shippingAddress": {"name": name, "address1": STREET}, "email": EMAIL},
        "lineItems": [{"id": "000011", "sku": "A-1", "quantity": 100, "title": f"for {name}"}],
        **more,
    }
    return incoming("channelape", "stock_transfer_order", body, seconds=seconds, number=number, again=again)


def unreadable_bytes(key: str) -> bytes:
    """Return a truncated body with a person's name."""
    return json.dumps({"orderNo": key, "customer": NAME, "street": STREET})[:-3].encode()


async def traces(database: asyncpg.Connection | asyncpg.Pool, texts: Sequence[str] = TRACES) -> dict[str, int]:
    """Return the number of rows that contain any of these texts, as text or as bytes, by table."""
    patterns = [f"%{text}%" for text in texts] + [f"%{text.encode().hex()}%" for text in texts]
    left: dict[str, int] = {}
    for row in await database.fetch(TABLES):
        table = row["relname"]
        count = await database.fetchval(
            f"SELECT count(*) FROM crossdock.{table} t WHERE t::text LIKE ANY ($1)",  # noqa: S608 - ours
            patterns,
        )
        if count:
            left[table] = count
    return left


async def erase(database: asyncpg.Connection, **selection: Any) -> dict[str, int]:
    """Erase as the command line does, and return the counts that it prints."""
    chosen = Selection(**{"platform": "channelape", "account": "acme", **selection})
    counts = await erasure.count(database, chosen)
    await erasure.run(database, await erasure.start(database, chosen))
    return counts
