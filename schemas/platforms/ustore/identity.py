"""The identity of a uStore order, and its lines."""

import re

from schemas import lenient
from schemas.platform import Line, ParsedDocument, UnreadableError
from schemas.platforms.ustore import wire
from schemas.platforms.ustore.values import identifier, name, part

EVENT = "manufacturer_allocation"
TYPE = "ustore.manufacturer_allocation"

_NO_PRODUCT = wire.Product()
_NO_QUANTITIES = wire.Quantities()
_NO_PRICES = wire.Prices()
_VARIED = re.compile(rb'("@(?:OrderId|DisplayOrderId)"\s*:\s*)(?:"[^"\\]*"|-?[0-9.]+)')


def decode(event: str, raw: bytes) -> wire.Document:
    """Decode the body of an event. Raises UnreadableError."""
    if event != EVENT:
        raise UnreadableError(f"uStore has no event {event!r}")
    return wire.decode(raw)


def read(event: str, raw: bytes) -> ParsedDocument:
    """Parse an order. Its key is `@OrderId`; a changed order is flagged `revised`. Raises only UnreadableError."""
    order = decode(event, raw).order
    order_id = lenient.key(order.order_id, "@OrderId")
    placed_at = lenient.date(order.cart_creationd_date) or lenient.date(order.cart_creation_date)
    lines = tuple([line for item in wire.items(order) if (line := _line(item)) is not None])
    return ParsedDocument(
        type=TYPE,
        key=order_id,
        lines=lines,
        order_number=identifier(order.display_order_id) or order_id,
        numbers=tuple([line.id for line in lines]),
        placed_at=placed_at,
        unreadable_date=lenient.unreadable_time(
            (order.cart_creationd_date, placed_at), (order.cart_creation_date, placed_at)
        ),
        flag_revised=True,
    )


def with_new_key(event: str, body: bytes, fresh: str) -> bytes:
    """Return the same order under another id."""
    return _VARIED.sub(lambda m: m[1] + b'"' + fresh.encode() + b'"', body)


def _line(item: wire.OrderProduct) -> Line | None:
    """Return one line; None for an item without an id, to which nothing could refer later."""
    item_id = identifier(item.id)
    if item_id is None:
        return None
    product = part(item.product) or _NO_PRODUCT
    quantities = part(item.quantities) or _NO_QUANTITIES
    prices = part(item.prices) or _NO_PRICES
    quantity = lenient.number(quantities.total_units)
    price, total = lenient.number(prices.price_per_unit), lenient.number(prices.total_price)
    unreadable = None
    if quantity is None or price is None or total is None:
        unreadable = lenient.unreadable(
            quantity=(quantities.total_units, quantity),
            unit_price=(prices.price_per_unit, price),
            total=(prices.total_price, total),
        )
    return Line(
        id=item_id,
        article=identifier(product.catalog_number) or identifier(product.external_id) or identifier(product.id),
        name=name(product.name),
        quantity=quantity,
        unit_price=price,
        total=total,
        unreadable=unreadable,
    )
