"""eComNow's documented notification, in valid JSON; Apicbase's purchase orders are told in it too.

An eComNow notification goes on byte for byte, or repaired where it was no JSON. Money keeps its digits: a decimal is
written as the number it was, never through a float.
"""

from decimal import Decimal

import msgspec

from schemas.outbound import Credentials, Dialect, Event, Request, UntranslatableError
from schemas.platform import UnreadableError
from schemas.platforms.apicbase import identity as apicbase

NEW_ORDER, CANCELLATION = "ecomnow.new_order", "ecomnow.order_cancellation"

_EXPONENT = 40
"""Digits beyond which a number is written with an exponent rather than with a page of zeros."""


class Item(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """An item as documented."""

    sku_nr: str
    item_name: str = ""
    item_quantity: msgspec.Raw
    item_price: msgspec.Raw = msgspec.Raw(b"null")
    item_total: msgspec.Raw = msgspec.Raw(b"null")


class Notification(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """The documented body; `orderNo` in quotes, without which the documented example is no JSON."""

    order_no: str
    type: str
    items: list[Item]


_encode = msgspec.json.Encoder().encode


def request(event: Event, credentials: Credentials, now: int) -> Request:
    """Raises UntranslatableError."""
    if event.type == apicbase.TYPE:
        body = translate(event.as_received())
    elif event.data is None:
        raise UntranslatableError("the notification is not JSON, and could not be repaired")
    else:
        body = event.data
    headers = {"Content-Type": "application/json", "X-Crossdock-Id": event.id}
    if credentials.authorization:
        headers["Authorization"] = credentials.authorization
    return Request(body=body, headers=headers)


def translate(raw: bytes) -> bytes:
    """A purchase order as a new order: article number, name, quantity, price of one, total. Raises
    UntranslatableError."""
    try:
        reading = apicbase.read(apicbase.EVENT, raw)
    except UnreadableError as why:
        raise UntranslatableError(f"the purchase order can't be read: {why}") from None
    number = reading.order_number or reading.key
    items = []
    for line in reading.lines:
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
    return _encode(Notification(order_no=number, type="new_order", items=items))


def _number(value: Decimal | None) -> msgspec.Raw:
    """A JSON number with the digits as sent; null where there is none."""
    if value is None:
        return msgspec.Raw(b"null")
    short = abs(value.adjusted()) < _EXPONENT
    return msgspec.Raw((format(value, "f") if short else str(value)).encode())


DIALECT = Dialect(
    name="ecomnow",
    types=frozenset({NEW_ORDER, CANCELLATION, apicbase.TYPE}),
    request=request,
    uses_authorization=True,
)
