"""The identity of a purchase order, and its lines."""

import re

from schemas import lenient
from schemas.platform import Line, ParsedDocument, UnreadableError
from schemas.platforms.apicbase import wire

EVENT = "purchase_order"
TYPE = "apicbase.purchase_order"

_read = lenient.decoder(wire.PurchaseOrder)
_NO_ITEM = wire.StockItem()
_NO_PACKAGE = wire.SupplierPackage()
_VARIED = re.compile(rb'("(?:id|order_number)"\s*:\s*)(?:"[^"\\]*"|-?[0-9.]+)')


def decode(event: str, raw: bytes) -> wire.PurchaseOrder:
    """Decode the body of an event. Raises UnreadableError."""
    if event != EVENT:
        raise UnreadableError(f"Apicbase has no event {event!r}")
    return _read(raw)


def read(event: str, raw: bytes) -> ParsedDocument:
    """Parse an order. Its key is Apicbase's internal `id`, which it keeps when it is edited and sent again by hand."""
    order = decode(event, raw)
    placed_at = lenient.date(order.ordered_on)
    customer = lenient.identifier(order.supplier_customer_number)
    return ParsedDocument(
        type=TYPE,
        key=lenient.key(order.id, "id"),
        lines=tuple(_line(n, package) for n, package in enumerate(packages(order), 1)),
        order_number=lenient.identifier(order.order_number),
        numbers=() if customer is None else (customer,),
        placed_at=placed_at,
        unreadable_date=lenient.unreadable_time((order.ordered_on, placed_at)),
        flag_revised=True,
    )


def packages(order: wire.PurchaseOrder) -> list[wire.Package]:
    """Return the order lines; an empty list if there is no list of them."""
    return lenient.or_empty_list(order.packages)


def article(package: wire.Package) -> str | None:
    """The supplier's own number for what is ordered."""
    return lenient.identifier(lenient.or_empty(package.supplier_package, _NO_PACKAGE).supplier_article_number)


def with_new_key(event: str, body: bytes, fresh: str) -> bytes:
    """The same order under another id and order number."""
    return _VARIED.sub(lambda m: m[1] + b'"' + fresh.encode() + b'"', body)


def _line(position: int, package: wire.Package) -> Line:
    """Lines have no ids: the position, from 1, tells them apart."""
    supplied = lenient.or_empty(package.supplier_package, _NO_PACKAGE)
    quantity = lenient.number(package.quantity_ordered)
    price = lenient.number(supplied.theoretical_price_per_package)
    total = lenient.number(package.total_theoretical_price)
    unreadable = None
    if quantity is None or price is None or total is None:
        unreadable = lenient.unreadable(
            quantity=(package.quantity_ordered, quantity),
            unit_price=(supplied.theoretical_price_per_package, price),
            total=(package.total_theoretical_price, total),
        )
    return Line(
        id=str(position),
        article=lenient.identifier(supplied.supplier_article_number),
        name=lenient.name(lenient.or_empty(package.stock_item, _NO_ITEM).name),
        quantity=quantity,
        unit_price=price,
        total=total,
        unreadable=unreadable,
    )
