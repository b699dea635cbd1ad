"""The purchase order as Apicbase posts it, and as its API lists it (apicbase.com, "Integrated Ordering").

Prices are decimal strings and are kept as sent. `owned_by`, `order_remarks` and `expected_delivery_date` may be null.
"""

from msgspec import UNSET, Struct, UnsetType

from schemas.lenient import Part, Scalar


class Owner(Struct, frozen=True, kw_only=True):
    username: Scalar = UNSET


class StockItem(Struct, frozen=True, kw_only=True):
    name: Scalar = UNSET


class SupplierPackage(Struct, frozen=True, kw_only=True):
    supplier_article_number: Scalar = UNSET
    theoretical_price_per_package: Scalar = UNSET


class Package(Struct, frozen=True, kw_only=True):
    """One order line; it has no id of its own."""

    stock_item: Part[StockItem] = UNSET
    supplier_package: Part[SupplierPackage] = UNSET
    quantity_ordered: Scalar = UNSET
    total_theoretical_price: Scalar = UNSET


class PurchaseOrder(Struct, frozen=True, kw_only=True):
    id: Scalar = UNSET
    order_number: Scalar = UNSET
    """Unique as well; the number that the customer sees."""
    status: Scalar = UNSET
    """The API documentation says: always ORDERED."""
    ordered_on: Scalar = UNSET
    """Neither zone nor format are documented: kept as sent."""
    owned_by: Part[Owner] = UNSET
    order_remarks: Scalar = UNSET
    packages: list[Package] | UnsetType | None = UNSET
    expected_delivery_date: Scalar = UNSET
    theoretical_price: Scalar = UNSET
    supplier_customer_number: Scalar = UNSET
    """The customer's location; one outlet may have several."""
