"""The orders view: lines of all order platforms, and what is cancelled of them."""

from typing import Any

import asyncpg
import msgspec

from schemas import registry
from tests.support.storing import incoming, rows
from workers.store import isolate


def notification(type_: str, *items: dict[str, Any], number: str = "1000-4612") -> dict[str, Any]:
    return {"orderNo": number, "type": type_, "items": items}


def item(sku: str, quantity: Any) -> dict[str, Any]:
    return {"skuNr": sku, "itemName": f"name of {sku}", "itemQuantity": quantity, "itemPrice": msgspec.Raw(b"60.10")}


async def orders(pool: asyncpg.Pool, *bodies: Any) -> list[tuple[Any, ...]]:
    batch = [incoming("ecomnow", "notification", body, seconds=n) for n, body in enumerate(bodies)]
    await isolate.write_isolating(pool, batch)
    return [
        (row["article"], row["line"], row["quantity"], row["cancelled"])
        for row in sorted(
            await rows(pool, "orders"), key=lambda row: (row["order_number"], row["article"], row["line"])
        )
    ]


async def test_what_is_cancelled_is_taken_from_the_first_line_on_and_never_more_than_it_holds(
    pool: asyncpg.Pool,
) -> None:
    new = notification("new_order", item("A", 2), item("B", 5), item("A", 3), item("A", 1))
    cancelled = notification("order_cancellation", item("A", 1), item("A", 3), item("C", 4))
    assert await orders(pool, new, cancelled) == [
        ("A", "1", 2, 2),
        ("A", "3", 3, 2),
        ("A", "4", 1, 0),
        ("B", "2", 5, 0),
        ("C", "3", None, 4),
    ]


async def test_more_cancelled_than_ordered_cancels_what_was_ordered(pool: asyncpg.Pool) -> None:
    bodies = notification("order_cancellation", item("A", 9)), notification("new_order", item("A", 2))
    assert await orders(pool, *bodies) == [("A", "1", 2, 2)]


async def test_a_cancellation_without_its_order_stands_alone(pool: asyncpg.Pool) -> None:
    bodies = [notification("order_cancellation", item("A", quantity)) for quantity in (9, 3)]
    assert await orders(pool, *bodies) == [("A", "1", None, 12)]
    assert (await rows(pool, "orders"))[0]["order_number"] == "1000-4612"


async def test_a_second_partial_cancellation_adds_to_the_first(pool: asyncpg.Pool) -> None:
    """Finding 23: the newest alone un-cancelled what the first had cancelled. The same list again is a repeat."""
    new = notification("new_order", item("A", 2), item("B", 3))
    first, second = notification("order_cancellation", item("A", 2)), notification("order_cancellation", item("B", 1))
    third = notification("order_cancellation", item("B", 1), item("A ", 1))
    assert await orders(pool, new, first, second, first, third) == [("A", "1", 2, 2), ("B", "2", 3, 2)]


async def test_order_lines_keep_exact_decimals_and_dates_as_sent(pool: asyncpg.Pool) -> None:
    order = registry.example("apicbase", "purchase_order")
    allocation = registry.example("ustore", "manufacturer_allocation")
    documented = registry.example("ecomnow", registry.event("ecomnow", "notification").examples[0])
    await isolate.write_isolating(
        pool,
        [
            incoming("apicbase", "purchase_order", order, seconds=1),
            incoming("ustore", "manufacturer_allocation", allocation, seconds=2),
            incoming("ecomnow", "notification", documented, seconds=3),
        ],
    )
    lines = {(row["platform"], row["line"]): row for row in await rows(pool, "orders")}
    sent = msgspec.json.decode(order)
    first, package = lines["apicbase", "1"], sent["packages"][0]
    assert first["order_number"] == sent["order_number"]
    assert first["placed_at"] == sent["ordered_on"]
    assert first["article"] == package["supplier_package"]["supplier_article_number"]
    assert str(first["unit_price"]) == package["supplier_package"]["theoretical_price_per_package"]
    assert str(first["total"]) == package["total_theoretical_price"]
    assert first["cancelled"] == 0
    assert lines["ustore", "3087"]["placed_at"] == "2023-03-27T02:13:55.410"
    assert str(lines["ustore", "3088"]["total"]) == "2.00000"
    shop = lines["ecomnow", "1"]
    assert (shop["order_number"], shop["article"], str(shop["unit_price"])) == (
        "1000-4612",
        "NHCBDFSJ&P20027-1",
        "60.0",
    )
