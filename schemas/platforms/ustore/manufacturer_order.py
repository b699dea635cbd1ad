"""The event for each manufacturer, `ustore.manufacturer_order`: only its items and addresses (contract §7)."""

from collections.abc import Iterable

import msgspec
from msgspec import Raw

from schemas import encodings, jsontext
from schemas.allocation import ItemAllocation
from schemas.lenient import Scalar
from schemas.platform import UnreadableError
from schemas.platforms.ustore import wire
from schemas.platforms.ustore.values import identifier, name

TYPE = "ustore.manufacturer_order"


class ManufacturerOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one manufacturer shall produce of an order: its items as received, and the deliveries that hold them."""

    order_id: str | None
    display_order_id: str | None
    manufacturer_id: str
    items: list[wire.OrderProduct]
    deliveries: list[wire.Delivery]


_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[Raw])
_SCALAR: msgspec.json.Decoder[Scalar] = msgspec.json.Decoder(float_hook=lambda literal: Raw(literal.encode()))


def split(raw: bytes, allocations: Iterable[ItemAllocation]) -> dict[str, bytes]:
    """Return each manufacturer's `data` as JSON, by its id: its items as received, with all numbers and unknown keys.

    `{"orderId", "displayOrderId", "manufacturerId", "items": […], "deliveries": […]}`; a delivery that holds several
    manufacturers' items is repeated with the items of each. Manufacturers are in the order in which they first get an
    item. Raises UnreadableError if `raw` is not a uStore order.
    """
    try:
        order = _members(_OBJECT.decode(_readable(raw)).get("Order"))
        chosen: dict[str, str] = {}
        for allocation in allocations:
            chosen.setdefault(identifier(allocation.item) or allocation.item, allocation.manufacturer)
        items_by_manufacturer: dict[str, list[Raw]] = {manufacturer: [] for manufacturer in chosen.values()}
        for item in _elements(_members(order.get("OrderProducts")).get("OrderProduct")):
            manufacturer = chosen.get(_identifier(_members(item).get("@id")) or "")
            if manufacturer is not None:
                items_by_manufacturer[manufacturer].append(item)
        deliveries = _elements(_members(order.get("DeliveryInformation")).get("Deliveries"))
        return {
            manufacturer: msgspec.json.encode(
                {
                    "orderId": _scalar(order.get("@OrderId")),
                    "displayOrderId": _scalar(order.get("@DisplayOrderId")),
                    "manufacturerId": manufacturer,
                    "items": items,
                    "deliveries": list(_own(deliveries, manufacturer, chosen)),
                }
            )
            for manufacturer, items in items_by_manufacturer.items()
            if items
        }
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(f"not a uStore order: {error}") from None


def _readable(raw: bytes) -> bytes:
    """Return the order as sent, or repaired if it is not UTF-8 or nested too deep: our events are readable JSON."""
    raw, _ = encodings.by_mark(raw)
    try:
        raw.decode()
    except UnicodeDecodeError:
        raw = jsontext.mend_bytes(raw)
    return jsontext.repair(jsontext.truncate_depth(raw) if jsontext.too_deep(raw) else raw)


def _own(deliveries: list[Raw], manufacturer: str, chosen: dict[str, str]) -> Iterable[dict[str, Raw | list[Raw]]]:
    for delivery in deliveries:
        members = _members(delivery)
        held = [
            item
            for item in _elements(members.get("DeliveryItems"))
            if chosen.get(_identifier(_members(item).get("OrderProductID")) or "") == manufacturer
        ]
        if held:
            yield members | {"DeliveryItems": held}


def _members(value: Raw | None) -> dict[str, Raw]:
    """Return the object's members; none if it is absent, or if `""` or null stands for it."""
    return _OBJECT.decode(value) if value is not None and bytes(value).lstrip().startswith(b"{") else {}


def _elements(value: Raw | None) -> list[Raw]:
    """Return the elements of a list, or the single object that stands for it."""
    literal = b"" if value is None else bytes(value).lstrip()
    if literal.startswith(b"["):
        return _LIST.decode(literal)
    return [Raw(literal)] if literal.startswith(b"{") else []


def _scalar(value: Raw | None) -> str | None:
    return None if value is None else name(_SCALAR.decode(value))


def _identifier(value: Raw | None) -> str | None:
    return None if value is None else identifier(_SCALAR.decode(value))
