"""The parts of an order that are used: its items, and where each of them goes."""

from collections.abc import Iterator

from schemas.platforms.ustore import wire
from schemas.platforms.ustore.values import each, identifier, part


def items(order: wire.Order) -> list[wire.OrderProduct]:
    """Return the order's items as sent: ids may be missing or repeated."""
    holder = part(order.order_products)
    return [] if holder is None else each(holder.order_product)


def deliveries(order: wire.Order) -> Iterator[tuple[wire.Delivery, list[str]]]:
    """Yield each delivery with the ids of the items that it holds."""
    information = part(order.delivery_information)
    for delivery in [] if information is None else each(information.deliveries):
        held = (identifier(item.order_product_id) for item in each(delivery.delivery_items))
        yield delivery, [item_id for item_id in held if item_id is not None]
