"""The identity of a notification, which is about an order, and its lines."""

import hashlib
import re

from schemas import lenient
from schemas.platform import Line, ParsedDocument, UnreadableError
from schemas.platforms.ecomnow import wire

EVENT = "notification"
NEW_ORDER = "new_order"
ORDER_CANCELLATION = "order_cancellation"
TYPES = {NEW_ORDER: "ecomnow.new_order", ORDER_CANCELLATION: "ecomnow.order_cancellation"}

REPEAT_WINDOW = 24 * 3600.0
"""Seconds. A notification has neither id nor time, and the cancellation of one more of the same item looks like the
first one: within a day, identical content counts as a repeat; later, as a new version that may be a repeat."""

_VARIED = re.compile(rb'("orderNo"\s*:\s*)(?:("[^"\\]*")|-?[0-9][0-9.-]*)')


def decode(event: str, raw: bytes) -> wire.Notification:
    """Decode the body of an event. Raises UnreadableError."""
    if event != EVENT:
        raise UnreadableError(f"eComNow has no event {event!r}")
    return wire.read(raw)


def read(event: str, raw: bytes) -> ParsedDocument:
    """Parse a notification. Its key is `orderNo` as text, within its type: a cancellation is a document of its own."""
    notification = decode(event, raw)
    kind = lenient.identifier(notification.type)
    if kind not in TYPES:
        raise UnreadableError(f"`type` is neither {' nor '.join(TYPES)}: we don't know what its items mean")
    order_number = lenient.key(notification.order_no, "orderNo")
    return ParsedDocument(
        type=TYPES[kind],
        key=order_number,
        lines=tuple([_line(n, item) for n, item in enumerate(lenient.or_empty_list(notification.items), 1)]),
        order_number=order_number,
        flag_revised=kind == NEW_ORDER,
        repeat_window=REPEAT_WINDOW,
    )


def with_new_key(event: str, body: bytes, fresh: str) -> bytes:
    """Return the same notification under another orderNo, without quotes if it had none."""

    def another(match: re.Match[bytes]) -> bytes:
        if match[2]:
            return match[1] + b'"' + fresh.encode() + b'"'
        return match[1] + b"1000-%d" % int.from_bytes(hashlib.blake2b(fresh.encode(), digest_size=8).digest())

    return _VARIED.sub(another, body, count=1)


def _line(position: int, item: wire.Item) -> Line:
    """Return one line, identified by its position from 1: items have no ids, and an SKU may be repeated."""
    quantity = lenient.number(item.item_quantity)
    price, total = lenient.number(item.item_price), lenient.number(item.item_total)
    unreadable = None
    if quantity is None or price is None or total is None:
        unreadable = lenient.unreadable(
            quantity=(item.item_quantity, quantity),
            unit_price=(item.item_price, price),
            total=(item.item_total, total),
        )
    return Line(
        id=str(position),
        article=lenient.identifier(item.sku_nr),
        name=lenient.name(item.item_name),
        quantity=quantity,
        unit_price=price,
        total=total,
        unreadable=unreadable,
    )
