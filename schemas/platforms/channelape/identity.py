"""The identity of a document, its lines, and the transfer order that it belongs to.

ChannelApe retries every 15 minutes with the newest copy of a document, so its identity is a business key and never its
content, except for receipts without an id: "multiple partial receipts" of a carton are different documents.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from schemas import canonical, lenient, placeholders
from schemas.lenient import Scalar
from schemas.platform import Line, ParsedDocument, UnreadableError, alias
from schemas.platforms.channelape import essentials, fields, wire

STOCK_TRANSFER_ORDER = "stock_transfer_order"
SHIP_CONFIRMATION = "ship_confirmation"
ADVANCED_SHIP_NOTICE = "advanced_ship_notice"
RECEIPT_CONFIRMATION = "receipt_confirmation"

_DECODERS = {
    STOCK_TRANSFER_ORDER: lenient.decoder(wire.StockTransferOrder),
    SHIP_CONFIRMATION: lenient.decoder(wire.Shipment),
    ADVANCED_SHIP_NOTICE: lenient.decoder(wire.Shipment),
    RECEIPT_CONFIRMATION: lenient.decoder(wire.Receipt),
}
_ESSENTIALS = {
    STOCK_TRANSFER_ORDER: lenient.decoder(essentials.StockTransferOrder),
    SHIP_CONFIRMATION: lenient.decoder(essentials.Shipment),
    ADVANCED_SHIP_NOTICE: lenient.decoder(essentials.Shipment),
    RECEIPT_CONFIRMATION: lenient.decoder(essentials.Receipt),
}
# Only the URL distinguishes a ship confirmation from an advanced ship notice; their bodies do not.

_CARTON = ("Sscc", "LicensePlate", "CartonNumber")
"""The fields that distinguish the cartons of a shipment, the preferred one first."""
_NUMBERS = ("sap_asn_number", "sap_handling_unit_number", "sap_purchase_order_number", "receipt_id")
"""Further fields by which people look for a shipment or a receipt."""
_NOTHING = Decimal(0)

T = TypeVar("T")


def decode(event: str, raw: bytes) -> wire.Order:
    """Decode the body of an event. Raises UnreadableError."""
    return _of_event(_DECODERS, event)(raw)


def read(event: str, raw: bytes) -> ParsedDocument:
    """Parse the body of an event. Raises UnreadableError."""
    order = _of_event(_ESSENTIALS, event)(raw)
    more = fields.collect(order.additional_fields)
    parcel = order if isinstance(order, essentials.Parcel) else None
    is_receipt = isinstance(order, essentials.Receipt)
    cartons = [] if parcel is None else _cartons(more)
    carton = next(filter(None, cartons), None)
    scope: str | None = None
    aliases: tuple[str, ...] = ()
    if carton is not None and parcel is not None and not is_receipt:
        scope, aliases = _quoted(lenient.key(parcel.id, "id")), _aliases(cartons)
    order_ref = lenient.reference(order.channel_order_id)
    placed_at = lenient.date(order.purchased_at)
    shipped_at = None if parcel is None else lenient.utc_datetime(parcel.shipped_at)
    goods_received, goods_received_at = _goods_received_at(more) if is_receipt else (None, None)
    return ParsedDocument(
        type=f"channelape.{event}",
        key=_key_of_order(order, order_ref) if parcel is None else _key_of_parcel(parcel, more, carton, raw),
        scope=scope,
        aliases=aliases,
        lines=tuple([_line(n, item) for n, item in enumerate(lenient.or_empty_list(order.line_items), 1)]),
        order_number=lenient.identifier(order.purchase_order_number),
        order_ref=order_ref,
        warehouse_ref=lenient.reference(order.warehouse_order_id)
        or placeholders.without_placeholder(fields.first(more, "warehouse_order_id")),
        carton=carton,
        numbers=() if parcel is None else _numbers(parcel, more, cartons),
        # As sent: the document gives from and to two meanings and its examples swap them. We never do.
        ship_from=fields.first(more, "note_attributes_ship_from"),
        ship_to=fields.first(more, "note_attributes_ship_to"),
        placed_at=placed_at,
        shipped_at=shipped_at,
        goods_received_at=goods_received_at,
        due_at=None if is_receipt else _due_at(parcel is not None, more),
        unreadable_date=lenient.unreadable_time(
            (order.purchased_at, placed_at),
            (None if parcel is None else parcel.shipped_at, shipped_at),
            (goods_received, goods_received_at),
        ),
        flag_revised=event == STOCK_TRANSFER_ORDER,
    )


def _of_event(decoders: Mapping[str, Callable[[bytes], T]], event: str) -> Callable[[bytes], T]:
    """Return the decoder of an event. Raises UnreadableError for one that ChannelApe does not have."""
    decoder = decoders.get(event)
    if decoder is None:
        raise UnreadableError(f"ChannelApe has no event {event!r}")
    return decoder


def with_new_key(event: str, body: bytes, fresh: str) -> bytes:
    """Return the same document under another channelOrderId, shipment id or receipt_id."""
    return _VARIED[event].sub(lambda m: m[1] + b'"' + fresh.encode() + b'"', body, count=1)


def _varied(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb'("' + name + rb'"\s*:\s*)(?:"[^"\\]*"|-?[0-9.]+)')


_VARIED = {
    STOCK_TRANSFER_ORDER: _varied(b"channelOrderId"),
    SHIP_CONFIRMATION: _varied(b"id"),  # the first "id" of a body, which is before those of the lines
    ADVANCED_SHIP_NOTICE: _varied(b"id"),
    RECEIPT_CONFIRMATION: _varied(b"receipt_id"),
}


def _cartons(more: Mapping[str, Scalar]) -> list[str | None]:
    """Return the value of each field of `_CARTON`."""
    *labels, number = [fields.first(more, name) for name in _CARTON]
    return [*map(placeholders.without_placeholder, labels), _counted(number)]


def _numbers(parcel: essentials.Parcel, more: Mapping[str, Scalar], cartons: Iterable[str | None]) -> tuple[str, ...]:
    """Return the numbers by which people look for a shipment or a receipt, besides those of its order and its key."""
    sent = [parcel.id, parcel.tracking_number, *[more[name] for name in _NUMBERS if name in more]]
    numbers = [*cartons, *map(lenient.reference, sent)]
    return tuple([number for number in numbers if number is not None])


def _counted(number: str | None) -> str | None:
    """Return a number that may be counted from zero, of a carton or a line: `0` is one, and `0000000000` is none."""
    return number if number == "0" else placeholders.without_placeholder(number)


def _aliases(cartons: list[str | None]) -> tuple[str, ...]:
    """Return all identifiers of a carton, the preferred one first, except damaged ones."""
    return tuple(
        [
            alias(rank, _quoted(number))
            for rank, number in enumerate(cartons)
            if number is not None and "\x00" not in number and "\ufffd" not in number
        ]
    )


def _quoted(part: str) -> str:
    return part.replace("%", "%25").replace("/", "%2F") if "%" in part or "/" in part else part


def _goods_received_at(more: Mapping[str, Scalar]) -> tuple[Scalar, datetime | None]:
    """Return when the goods were received, or else when they arrived: as sent, and as read.

    A time that cannot be read is unknown, and the other does not replace it. If neither was sent, the view uses the
    time at which the message was received.
    """
    for name in ("actual_received_date", "actual_arrival_date"):
        sent = fields.as_sent(more, name)
        if sent is None:
            continue
        read = lenient.local_datetime(lenient.identifier(sent))
        if read is not None or not lenient.is_no_time(sent):
            return sent, read
    return None, None


def _due_at(is_shipment: bool, more: Mapping[str, Scalar]) -> datetime | None:
    """Return when the goods are expected, as an order or a shipment says; None also if that cannot be read."""
    name = "EstimatedArrivalDate" if is_shipment else "deliver_by_date"
    return lenient.utc_deadline(fields.as_sent(more, name))


def _key_of_order(order: essentials.Order, order_ref: str | None) -> str:
    """Return the business key of a transfer order: channelOrderId, which is `order_ref`, else warehouseOrderId.

    purchaseOrderNumber "can have duplicates" and is never part of a key.
    """
    if order_ref is not None:
        return lenient.intact(order_ref, "channelOrderId")
    return lenient.key(order.warehouse_order_id, "channelOrderId` or `warehouseOrderId")


def _key_of_parcel(parcel: essentials.Parcel, more: Mapping[str, Scalar], carton: str | None, raw: bytes) -> str:
    """Return the business key of a shipment: id and carton.

    That of a receipt is its receipt_id, else id, carton and content.
    """
    content = None
    if isinstance(parcel, essentials.Receipt):
        receipt = placeholders.without_placeholder(fields.first(more, "receipt_id"))
        if receipt is not None:
            return lenient.key(receipt, "receipt_id")
        content = canonical.digest(raw).hex()
    parts = (lenient.key(parcel.id, "id"), carton and lenient.intact(carton, "the carton's number"), content)
    return "/".join([_quoted(part) for part in parts if part])


def _number(sent: Scalar) -> Decimal | None:
    """Return a number of `additionalFields`, whose texts may have blanks at their ends."""
    return lenient.number(lenient.identifier(sent))


def _line(position: int, item: essentials.LineItem) -> Line:
    """Return one line. A line without an id is identified by its article, or else by its position.

    The quantities that arrived are in the line's `additionalFields`: `received_qty`, else `quantity`; `damaged_qty`,
    else 0, which is part of the received quantity.
    """
    sku = lenient.identifier(item.sku)
    quantity = lenient.number(item.quantity)
    received = damaged = unreadable = None
    if isinstance(item, essentials.ReceivedLineItem):
        more = fields.collect(item.additional_fields)
        received_sent, damaged_sent = fields.as_sent(more, "received_qty"), fields.as_sent(more, "damaged_qty")
        received = quantity if lenient.is_absent(received_sent) else _number(received_sent)
        damaged = _NOTHING if lenient.is_absent(damaged_sent) else _number(damaged_sent)
        if quantity is None or received is None or damaged is None:
            unreadable = lenient.unreadable(
                quantity=(item.quantity, quantity),
                received=(received_sent, received),
                damaged=(damaged_sent, damaged),
            )
    elif quantity is None:
        unreadable = lenient.unreadable(quantity=(item.quantity, quantity))
    return Line(
        id=_counted(lenient.identifier(item.id)) or sku or f"#{position}",
        article=sku,
        name=lenient.text(item.title),
        quantity=quantity,
        received=received,
        damaged=damaged,
        unreadable=unreadable,
    )
