"""Optional objects and elements of lists that are empty: `""` and `[]` are read as `null` is."""

import json
from typing import Any

import pytest

from schemas import registry
from schemas.allocation import ItemAllocation
from schemas.platforms.ustore import manufacturer_order, wire

EVENTS = {
    ("apicbase", "purchase_order"): ("owned_by", "packages.0.stock_item", "packages.0.supplier_package"),
    ("channelape", "stock_transfer_order"): ("customer", "additionalFields", "customer.billingAddress"),
    ("channelape", "receipt_confirmation"): ("customer", "lineItems.0.additionalFields"),
    ("ustore", "manufacturer_allocation"): ("Order.User", "Order.Store", "Order.Prices", "Order.DeliveryInformation"),
}


def changed(platform: str, event: str, path: str, value: Any) -> bytes:
    body = json.loads(registry.example(platform, event))
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    holder: Any = body
    for parent in parents:
        holder = holder[parent] if isinstance(parent, int) else holder.setdefault(parent, {})
    holder[last] = value
    return json.dumps(body).encode()


@pytest.mark.parametrize("empty", ["", []])
@pytest.mark.parametrize(
    ("platform", "event", "path"), [(*event, path) for event, paths in EVENTS.items() for path in paths]
)
def test_an_empty_object_is_read_as_null(platform: str, event: str, path: str, empty: Any) -> None:
    read = registry.platforms()[platform].read
    assert read(event, changed(platform, event, path, empty)).lines == (
        read(event, changed(platform, event, path, None)).lines
    )


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_element_of_a_list_is_left_out(empty: str | None) -> None:
    body = json.loads(registry.example("ustore", "manufacturer_allocation"))
    whole = wire.decode(json.dumps(body).encode()).order
    products = body["Order"]["OrderProducts"]["OrderProduct"]
    values = products[0]["PropertyValues"]["PropertyValue"]
    products[0]["PropertyValues"]["PropertyValue"] = [*(values if isinstance(values, list) else [values]), empty]
    products.append(empty)
    deliveries = body["Order"]["DeliveryInformation"]["Deliveries"]
    deliveries = deliveries if isinstance(deliveries, list) else [deliveries]
    held = deliveries[0]["DeliveryItems"]
    deliveries[0]["DeliveryItems"] = [empty, *(held if isinstance(held, list) else [held])]
    body["Order"]["DeliveryInformation"]["Deliveries"] = [*deliveries, empty]
    raw = json.dumps(body).encode()
    order = wire.decode(raw).order
    ids = [item.id for item in wire.items(whole)]
    assert [item.id for item in wire.items(order)] == ids
    assert [held for _, held in wire.deliveries(order)] == [held for _, held in wire.deliveries(whole)]
    allocations = [ItemAllocation(item=str(id_), manufacturer="7", rule="r") for id_ in ids]
    shares = manufacturer_order.split(raw, allocations)
    assert len(json.loads(shares["7"])["items"]) == len(ids)
