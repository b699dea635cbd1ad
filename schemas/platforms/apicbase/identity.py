"""Which purchase order a body is, and its lines."""

import re

from schemas import loose
from schemas.platform import Line, ParsedDocument, UnreadableError
from schemas.platforms.apicbase import wire

EVENT = "purchase_order"
TYPE = "apicbase.purchase_order"

_read = loose.decoder(wire.PurchaseOrder)
_NO_ITEM = wire.StockItem()
_NO_PACKAGE = wire.SupplierPackage()
_VARIED = re.compile(rb'("(?:id|order_number)"\s*:\s*)(?:"[^"\\]*"|-?[0-9.]+)')


def decode(event: str, raw: bytes) -> wire.PurchaseOrder:
    """Raises UnreadableError."""
    if event != EVENT:
        raise UnreadableError(f"Apicbase has no event {event!r}")
    return _read(raw)


def read(event: str, raw: bytes) -> ParsedDocument:
    """The key is Apicbase's internal `id`: a failed order is resent by hand under the same one, perhaps edited."""
    order = decode(event, raw)
    return ParsedDocument(
        type=TYPE,
        key=loose.key(order.id, "id"),
        lines=tuple(_line(n, package) for n, package in enumerate(packages(order), 1)),
        order_number=loose.identifier(order.order_number),
        placed_at=loose.date(order.ordered_on),
        flag_revised=True,
    )


def packages(order: wire.PurchaseOrder) -> list[wire.Package]:
    """The order lines; none where there is no list."""
    return loose.each(order.packages)


def article(package: wire.Package) -> str | None:
    """The supplier's own number for what is ordered."""
    return loose.identifier(loose.part(package.supplier_package, _NO_PACKAGE).supplier_article_number)


def vary(event: str, body: bytes, fresh: str) -> bytes:
    """The same order under another id and order number."""
    return _VARIED.sub(lambda m: m[1] + b'"' + fresh.encode() + b'"', body)


def _line(position: int, package: wire.Package) -> Line:
    """Lines have no ids: the position, from 1, tells them apart."""
    supplied = loose.part(package.supplier_package, _NO_PACKAGE)
    quantity = loose.number(package.quantity_ordered)
    price = loose.number(supplied.theoretical_price_per_package)
    total = loose.number(package.total_theoretical_price)
    unreadable = None
    if quantity is None or price is None or total is None:
        unreadable = loose.unreadable(
            quantity=(package.quantity_ordered, quantity),
            unit_price=(supplied.theoretical_price_per_package, price),
            total=(package.total_theoretical_price, total),
        )
    return Line(
        id=str(position),
        article=loose.identifier(supplied.supplier_article_number),
        name=loose.text(loose.part(package.stock_item, _NO_ITEM).name),
        quantity=quantity,
        unit_price=price,
        total=total,
        unreadable=unreadable,
    )
