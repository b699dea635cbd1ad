"""The fields of a body that its identity, its lines and its flags depend on, for the store worker.

`wire` has all of them. Leaving out the others halves the time that it takes to decode a body: what it is delivered and
queried as comes from the bytes themselves. No Struct here can be part of a cycle, so the garbage collector need not
follow them.
"""

from msgspec import UNSET, Struct, UnsetType

from schemas.lenient import Scalar
from schemas.platforms.channelape.wire import AdditionalFields


class LineItem(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """A line of an order or a shipment."""

    id: Scalar = UNSET
    quantity: Scalar = UNSET
    sku: Scalar = UNSET
    title: Scalar = UNSET


class ReceivedLineItem(LineItem, frozen=True, kw_only=True, rename="camel", gc=False):
    """A line of a receipt, whose quantities that arrived are additional fields."""

    additional_fields: AdditionalFields = UNSET


class Order(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """What the four documents share."""

    purchase_order_number: Scalar = UNSET
    warehouse_order_id: Scalar = UNSET
    channel_order_id: Scalar = UNSET
    purchased_at: Scalar = UNSET
    additional_fields: AdditionalFields = UNSET
    line_items: list[LineItem] | UnsetType | None = UNSET


class StockTransferOrder(Order, frozen=True, kw_only=True, rename="camel", gc=False):
    """A stock transfer order."""


class Parcel(Order, frozen=True, kw_only=True, rename="camel", gc=False):
    """What a shipment and a receipt share."""

    id: Scalar = UNSET
    shipped_at: Scalar = UNSET
    tracking_number: Scalar = UNSET


class Shipment(Parcel, frozen=True, kw_only=True, rename="camel", gc=False):
    """A ship confirmation or an advanced ship notice."""


class Receipt(Parcel, frozen=True, kw_only=True, rename="camel", gc=False):
    """What arrived of a carton."""

    line_items: list[ReceivedLineItem] | UnsetType | None = UNSET  # type: ignore[assignment]  # it is never written
