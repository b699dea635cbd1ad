"""What a uStore order is to the rest of the house: its type, its key and its lines."""

import re

from schemas import loose
from schemas.platform import Line, Reading, Unreadable
from schemas.platforms.ustore import wire
from schemas.platforms.ustore.order import items
from schemas.platforms.ustore.values import part, text

EVENT = "manufacturer_allocation"
TYPE = "ustore.manufacturer_allocation"

_VARIED = re.compile(rb'("@(?:OrderId|DisplayOrderId)"\s*:\s*)(?:"[^"\\]*"|-?[0-9.]+)')


def decode(event: str, raw: bytes) -> wire.Document:
    """Raises Unreadable."""
    if event != EVENT:
        raise Unreadable(f"uStore has no event {event!r}")
    return wire.decode(raw)


def read(event: str, raw: bytes) -> Reading:
    """The key is `@OrderId`; an order that changed is flagged `revised`. Raises Unreadable and nothing else."""
    order = decode(event, raw).order
    order_id = loose.key(order.order_id, "@OrderId")
    return Reading(
        type=TYPE,
        key=order_id,
        lines=tuple(line for item in items(order) if (line := _line(item)) is not None),
        order_number=text(order.display_order_id) or order_id,
        placed_at=text(order.cart_creationd_date) or text(order.cart_creation_date),
        flag_revised=True,
    )


def vary(event: str, body: bytes, fresh: str) -> bytes:
    """The same order under another id."""
    return _VARIED.sub(lambda m: m[1] + b'"' + fresh.encode() + b'"', body)


def _line(item: wire.OrderProduct) -> Line | None:
    """None for an item without an id: nothing could be said about it later."""
    item_id = text(item.id)
    if item_id is None:
        return None
    product = part(item.product) or wire.Product()
    quantities = part(item.quantities) or wire.Quantities()
    prices = part(item.prices) or wire.Prices()
    article = text(product.catalog_number) or text(product.external_id) or text(product.id)
    return Line(
        id=item_id,
        article=article,
        name=text(product.name),
        quantity=loose.number(quantities.total_units),
        unit_price=loose.number(prices.price_per_unit),
        total=loose.number(prices.total_price),
    )
