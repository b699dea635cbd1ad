"""eComNow's documented notification, in valid JSON; purchase orders of other platforms are translated into it.

An eComNow notification is sent byte for byte, or repaired if it was not JSON. Money keeps its digits: a decimal is
written as the number it was, never through a float.
"""

from decimal import Decimal

import msgspec

from schemas import registry
from schemas.outbound import Credentials, Dialect, Event, Request, UntranslatableError
from schemas.platform import UnreadableError

NEW_ORDER, CANCELLATION = "ecomnow.new_order", "ecomnow.order_cancellation"
PURCHASE_ORDERS = {
    type_: (platform, event.name)
    for platform in registry.platforms().values()
    for event in platform.events
    if event.is_purchase_order
    for type_ in event.types
}
"""Platform and event name of the purchase orders that are translated, by event type."""

_EXPONENT = 40
"""Digits beyond which a number is written with an exponent rather than with a page of zeros."""


class Item(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """One item of a notification, as documented."""

    sku_nr: str
    item_name: str = ""
    item_quantity: msgspec.Raw
    item_price: msgspec.Raw = msgspec.Raw(b"null")
    item_total: msgspec.Raw = msgspec.Raw(b"null")


class Notification(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """The documented body, with `orderNo` in quotes, without which the documented example is not JSON."""

    order_no: str
    type: str
    items: list[Item]


_encode = msgspec.json.Encoder().encode


def request(event: Event, credentials: Credentials, now: int) -> Request:
    """Return the notification of an event. Raises UntranslatableError."""
    if event.type in PURCHASE_ORDERS:
        body = translate(event.type, event.as_received())
    elif event.data is None:
        raise UntranslatableError("the notification is not JSON, and could not be repaired")
    else:
        body = event.data
    headers = {"Content-Type": "application/json", "X-Crossdock-Id": event.id}
    if credentials.authorization:
        headers["Authorization"] = credentials.authorization
    return Request(body=body, headers=headers)


def translate(type_: str, raw: bytes) -> bytes:
    """Return a purchase order of this event type as a new order. Raises UntranslatableError.

    An item has the article number, name, quantity, unit price and total of an order line.
    """
    platform, event = PURCHASE_ORDERS[type_]
    try:
        order = platform.read(event, raw)
    except UnreadableError as why:
        raise UntranslatableError(f"the purchase order can't be read: {why}") from None
    items = []
    for line in order.lines:
        if line.article is None or line.quantity is None:
            missing = "article number" if line.article is None else "quantity"
            raise UntranslatableError(f"line {line.id} of the purchase order has no {missing}")
        items.append(
            Item(
                sku_nr=line.article,
                item_name=line.name or "",
                item_quantity=_number(line.quantity),
                item_price=_number(line.unit_price),
                item_total=_number(line.total),
            )
        )
    return _encode(Notification(order_no=order.order_number or order.key, type="new_order", items=items))


def _number(value: Decimal | None) -> msgspec.Raw:
    """Return a JSON number with the digits as sent; null for None."""
    if value is None:
        return msgspec.Raw(b"null")
    short = abs(value.adjusted()) < _EXPONENT
    return msgspec.Raw((format(value, "f") if short else str(value)).encode())


DIALECT = Dialect(
    name="ecomnow",
    types=frozenset({NEW_ORDER, CANCELLATION, *PURCHASE_ORDERS}),
    request=request,
    uses_authorization=True,
)
