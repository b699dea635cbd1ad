"""The order that uStore posts to a manufacturer webhook, as documented, and its lenient interpretation.

It is XML turned into JSON: attributes are `@id`, text is `#text`, every scalar is a string, `""` and null are mixed,
and a list of one may come as the bare object. So scalars are kept as they came, every object may be `""` or null, and
every list may also be its only element. What is absent stays absent (UNSET), so that encoding a decoded document again
loses nothing of what is documented. Unknown keys are ignored.
"""

from collections.abc import Iterator
from typing import TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType, field

from schemas import lenient
from schemas.lenient import Scalar
from schemas.platforms.ustore.values import each, identifier, part

T = TypeVar("T", bound=msgspec.Struct)
One: TypeAlias = T | str | list[Scalar] | UnsetType | None
"""An object, or what an XML converter writes if it is empty."""
Many: TypeAlias = list[T | str | None] | T | str | UnsetType | None
"""A list, its only element, or what an XML converter writes if it is empty."""


class _Part(msgspec.Struct, kw_only=True, frozen=True, rename="pascal"):
    pass


class Coupon(_Part, kw_only=True, frozen=True):
    coupon_id: Scalar = field(name="@CouponID", default=UNSET)
    text: Scalar = field(name="#text", default=UNSET)


class Prices(_Part, kw_only=True, frozen=True):
    """Of an order or of an item. uStore's own example doesn't add up: no arithmetic is expected of it."""

    fixed_price: Scalar = UNSET
    price_per_recipient: Scalar = UNSET
    price_per_unit: Scalar = UNSET
    subtotal: Scalar = UNSET
    shipping_price: Scalar = UNSET
    mailing_price: Scalar = UNSET
    tax: Scalar = UNSET
    coupon_discount: One[Coupon] = UNSET
    total_price: Scalar = UNSET
    cost: Scalar = UNSET


class Address(_Part, kw_only=True, frozen=True):
    """Where the store and the manufacturers are: state and country as codes."""

    name: Scalar = UNSET
    company: Scalar = UNSET
    address1: Scalar = UNSET
    address2: Scalar = UNSET
    city: Scalar = UNSET
    state: Scalar = UNSET
    zip_code: Scalar = UNSET
    country: Scalar = UNSET
    phone: Scalar = UNSET
    fax: Scalar = UNSET
    address_reference: Scalar = UNSET


class ShippingAddress(_Part, kw_only=True, frozen=True):
    """Where a delivery goes: state and country as names, no city."""

    address1: Scalar = UNSET
    address2: Scalar = UNSET
    company: Scalar = UNSET
    name: Scalar = UNSET
    country_name: Scalar = UNSET
    fax: Scalar = UNSET
    phone: Scalar = UNSET
    zip: Scalar = UNSET
    state_name: Scalar = UNSET


class Store(_Part, kw_only=True, frozen=True):
    id: Scalar = field(name="@Id", default=UNSET)
    external_id: Scalar = field(name="@externalId", default=UNSET)
    landing_domain: Scalar = field(name="@LandingDomain", default=UNSET)
    currency: Scalar = UNSET
    pickup_address: One[Address] = UNSET


class User(_Part, kw_only=True, frozen=True):
    user_id: Scalar = field(name="@UserId", default=UNSET)
    external_id: Scalar = field(name="@externalId", default=UNSET)
    first_name: Scalar = UNSET
    last_name: Scalar = UNSET
    email: Scalar = UNSET
    phone: Scalar = UNSET
    mobile: Scalar = UNSET
    fax: Scalar = UNSET
    company: Scalar = UNSET
    department: Scalar = UNSET
    job_title: Scalar = UNSET


class Quantities(_Part, kw_only=True, frozen=True):
    number_of_recipients: Scalar = UNSET
    number_of_copies: Scalar = UNSET
    total_units: Scalar = UNSET


class Manufacturer(_Part, kw_only=True, frozen=True):
    """A request names a manufacturer only so; the answer needs uStore's internal id, which is never in it."""

    external_id: Scalar = field(name="@externalId", default=UNSET)
    name: Scalar = UNSET
    address: One[Address] = UNSET


class ProductUnit(_Part, kw_only=True, frozen=True):
    id: Scalar = field(name="@id", default=UNSET)
    items_amount: Scalar = field(name="@itemsAmount", default=UNSET)
    text: Scalar = field(name="#text", default=UNSET)


class TaxGroup(_Part, kw_only=True, frozen=True):
    id: Scalar = UNSET
    name: Scalar = UNSET
    tax_code: Scalar = UNSET


class Product(_Part, kw_only=True, frozen=True):
    id: Scalar = field(name="@id", default=UNSET)
    external_id: Scalar = field(name="@externalId", default=UNSET)
    name: Scalar = UNSET
    catalog_number: Scalar = UNSET
    type: Scalar = UNSET
    downloadable: Scalar = UNSET
    manufacturer: One[Manufacturer] = UNSET
    tax_group: One[TaxGroup] = UNSET


class Property(_Part, kw_only=True, frozen=True):
    id: Scalar = field(name="@id", default=UNSET)
    external_id: Scalar = field(name="@externalId", default=UNSET)
    display_name: Scalar = UNSET


class PropertyValue(_Part, kw_only=True, frozen=True):
    property: One[Property] = UNSET
    value: Scalar = UNSET


class PropertyValues(_Part, kw_only=True, frozen=True):
    property_value: Many[PropertyValue] = UNSET


class OrderProduct(_Part, kw_only=True, frozen=True):
    """One item of an order."""

    id: Scalar = field(name="@id", default=UNSET)
    creation_date: Scalar = field(name="@creationDate", default=UNSET)
    output_token: Scalar = field(name="@OutputToken", default=UNSET)
    quantities: One[Quantities] = UNSET
    prices: One[Prices] = UNSET
    manufacturer: One[Manufacturer] = UNSET
    deliveries: Scalar = UNSET
    product_unit: One[ProductUnit] = UNSET
    product: One[Product] = UNSET
    dial_values: Scalar = UNSET
    property_values: One[PropertyValues] = UNSET


class OrderProducts(_Part, kw_only=True, frozen=True):
    order_product: Many[OrderProduct] = UNSET


class DeliveryItem(_Part, kw_only=True, frozen=True):
    order_product_id: Scalar = field(name="OrderProductID", default=UNSET)
    number_of_units: Scalar = UNSET


class Delivery(_Part, kw_only=True, frozen=True):
    shipping_address: One[ShippingAddress] = UNSET
    delivery_items: Many[DeliveryItem] = UNSET
    delivery_method: Scalar = UNSET


class DeliveryInformation(_Part, kw_only=True, frozen=True):
    deliveries: Many[Delivery] = UNSET


class Order(_Part, kw_only=True, frozen=True):
    order_id: Scalar = field(name="@OrderId", default=UNSET)
    display_order_id: Scalar = field(name="@DisplayOrderId", default=UNSET)
    cart_creationd_date: Scalar = field(name="@cartCreationdDate", default=UNSET)
    """The spelling that is documented."""
    cart_creation_date: Scalar = field(name="@cartCreationDate", default=UNSET)
    """The correct spelling, in case uStore adopts it."""
    primary_currency: Scalar = field(name="@primaryCurrency", default=UNSET)
    prices: One[Prices] = UNSET
    store: One[Store] = UNSET
    user: One[User] = UNSET
    deliveries: Scalar = UNSET
    order_products: One[OrderProducts] = UNSET
    custom_configuration: Scalar = UNSET
    """Undocumented (`1:2;2:1;3:3`): kept, never interpreted."""
    delivery_information: One[DeliveryInformation] = UNSET


class Document(_Part, kw_only=True, frozen=True):
    order: Order


decode = lenient.decoder(Document)
"""Decode an order. Raises only UnreadableError, for any input."""


def items(order: Order) -> list[OrderProduct]:
    """Return the order's items as sent: ids may be missing or repeated."""
    holder = part(order.order_products)
    return [] if holder is None else each(holder.order_product)


def deliveries(order: Order) -> Iterator[tuple[Delivery, list[str]]]:
    """Yield each delivery with the ids of the items that it holds."""
    information = part(order.delivery_information)
    for delivery in [] if information is None else each(information.deliveries):
        held = (identifier(item.order_product_id) for item in each(delivery.delivery_items))
        yield delivery, [item_id for item_id in held if item_id is not None]
