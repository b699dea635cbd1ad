"""The documents that ChannelApe posts: stock transfer orders, shipments, advanced ship notices, receipts.

Every field of an order is optional: the documented receipt lacks half of its own table and has fields that the table
lacks. Ids are zero-padded text. `quantity` is a number, `received_qty`, `damaged_qty` and `variance` are text.
"""

from typing import TypeAlias

from msgspec import UNSET, Struct, UnsetType, field

from schemas.lenient import Part, Scalar


class AdditionalField(Struct, frozen=True, kw_only=True):
    """A field of an array, as documented, or in the capitals with which .NET's serialisers write it."""

    name: Scalar = UNSET
    value: Scalar = UNSET
    capital_name: Scalar = field(default=UNSET, name="Name")
    capital_value: Scalar = field(default=UNSET, name="Value")


AdditionalFields: TypeAlias = dict[str, Scalar] | list[AdditionalField] | str | UnsetType | None
"""An object in the examples, "array of AdditionalField" in the tables: both are sent. A text stands for
no fields. `fields.collect` reads them."""


class Address(Struct, frozen=True, kw_only=True, rename="camel"):
    company: Scalar = UNSET
    name: Scalar = UNSET
    phone: Scalar = UNSET
    first_name: Scalar = UNSET
    last_name: Scalar = UNSET
    address1: Scalar = UNSET
    address2: Scalar = UNSET
    city: Scalar = UNSET
    province: Scalar = UNSET
    province_code: Scalar = UNSET
    country_code: Scalar = UNSET
    country: Scalar = UNSET
    postal_code: Scalar = UNSET
    additional_fields: AdditionalFields = UNSET


class Customer(Struct, frozen=True, kw_only=True, rename="camel"):
    additional_fields: AdditionalFields = UNSET
    name: Scalar = UNSET
    first_name: Scalar = UNSET
    last_name: Scalar = UNSET
    email: Scalar = UNSET
    phone: Scalar = UNSET
    billing_address: Part[Address] = UNSET
    shipping_address: Part[Address] = UNSET


class LineItem(Struct, frozen=True, kw_only=True, rename="camel"):
    additional_fields: AdditionalFields = UNSET
    id: Scalar = UNSET
    quantity: Scalar = UNSET
    sku: Scalar = UNSET
    upc: Scalar = UNSET
    title: Scalar = UNSET
    reserve_quantity: Scalar = UNSET
    presale_quantity: Scalar = UNSET
    vendor: Scalar = UNSET
    grams: Scalar = UNSET
    shipping_method: Scalar = UNSET
    restock_type: Scalar = UNSET
    gift_card_code: Scalar = UNSET
    gift_card_id: Scalar = UNSET
    price: Scalar = UNSET
    shipping_price: Scalar = UNSET
    shipping_tax: Scalar = UNSET
    taxes: Scalar = UNSET
    """"array of Tax", whose shape is documented nowhere."""


class Order(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the four documents share."""

    purchase_order_number: Scalar = UNSET
    """SAP's number of the transfer; it can have duplicates, so it does not identify a transfer."""
    warehouse_order_id: Scalar = UNSET
    """ChannelApe's own identifier, which is unique."""
    channel_order_id: Scalar = UNSET
    """SAP's, "cannot have duplicates"."""
    purchased_at: Scalar = UNSET
    shipping_company: Scalar = UNSET
    shipping_method: Scalar = UNSET
    """The document's second `shippingCompany` row."""
    location_id: Scalar = UNSET
    warehouse_code: Scalar = UNSET
    warehouse_company: Scalar = UNSET
    warehouse_name: Scalar = UNSET
    warehouse_id: Scalar = UNSET
    warehouse_zipcode: Scalar = UNSET
    status: Scalar = UNSET
    """An open set: OPEN, SHIPPED and RECEIVED are documented."""
    additional_fields: AdditionalFields = UNSET
    customer: Part[Customer] = UNSET
    line_items: list[LineItem] | UnsetType | None = UNSET


class StockTransferOrder(Order, frozen=True, kw_only=True, rename="camel"):
    """Sent to the party that fulfils the transfer."""


class Shipment(Order, frozen=True, kw_only=True, rename="camel"):
    """One carton under way: a ship confirmation and an advanced ship notice have the same body."""

    id: Scalar = UNSET
    shipped_at: Scalar = UNSET
    tracking_number: Scalar = UNSET


class Receipt(Shipment, frozen=True, kw_only=True, rename="camel"):
    """What arrived of a carton: a shipment's body with more `additionalFields`, on the order and on its lines."""
