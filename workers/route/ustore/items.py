"""The values that rules use: an order item with its order and its destination, as texts that can be compared."""

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from schemas import invisible, lenient
from schemas.platforms.ustore import wire
from schemas.platforms.ustore.values import each, identifier, name, part, text
from workers.route.ustore import addresses, distance

_NO_PRODUCT = wire.Product()
_NO_QUANTITIES = wire.Quantities()
_NO_STORE = wire.Store()
_NO_MANUFACTURER = wire.Manufacturer()
_NO_PROPERTY = wire.Property()


def comparable(value: str | None) -> str:
    """Return a text as rules compare it; empty for None.

    It is in lower case and in Unicode's form NFC, without surrounding white space and invisible characters.
    """
    if not value:
        return ""
    if value.isascii() and value.isprintable():
        return value.strip().casefold()
    return lenient.composed(lenient.composed(invisible.trimmed(value)).casefold())


class Destination(msgspec.Struct, frozen=True):
    """A shipping address, in ISO codes if they are known, else as written."""

    country: str | None
    """The country as an ISO 3166-1 alpha-2 code."""
    country_text: str
    states: tuple[str, ...]
    """ISO 3166-2, the smallest first: `("GB-KEN", "GB-ENG")`."""
    state_text: str
    postal: str
    """In the form of `addresses.postal`."""

    def place(self) -> distance.Place | None:
        """Return the most precise known place; None if even the country is unknown."""
        return distance.gazetteer().locate(self.country, self.states, self.postal) if self.country else None

    def describe(self) -> str:
        """Return a text for people, such as `US US-PA 19028`."""
        state = self.states[0] if self.states else self.state_text
        return " ".join(word for word in (self.country or self.country_text, state, self.postal) if word)


class Item:
    """One item of an order."""

    __slots__ = ("_source", "currency", "destination", "id", "id_as_sent", "method", "product", "store_id")

    def __init__(
        self,
        source: wire.OrderProduct,
        item_id: str,
        store_id: str,
        currency: str,
        method: str,
        destination: Destination | None,
    ) -> None:
        self._source = source
        self.id = item_id
        self.id_as_sent = text(source.id) or item_id
        """The id in the answer: uStore compares it with its own spelling, including white space."""
        self.product = part(source.product) or _NO_PRODUCT
        self.store_id = store_id
        self.currency = currency
        self.method = method
        self.destination = destination

    def name(self) -> str:
        """Return the name that the shopper knows."""
        return name(self.product.name) or name(self.product.catalog_number) or self.id

    def units(self) -> Decimal | None:
        """Return the item's total units; None if they are unreadable."""
        return lenient.number((part(self._source.quantities) or _NO_QUANTITIES).total_units)

    def properties(self) -> Iterator[tuple[str, str, str]]:
        """Yield DisplayName, @externalId and value of each property, in the form of `comparable`."""
        holder = part(self._source.property_values)
        for entry in [] if holder is None else each(holder.property_value):
            known = part(entry.property) or _NO_PROPERTY
            yield (
                comparable(text(known.display_name)),
                comparable(text(known.external_id)),
                comparable(text(entry.value)),
            )

    def maker(self) -> tuple[str, str]:
        """Return name and @externalId of the product's manufacturer, else the item's, in the form of `comparable`."""
        for holder in (self.product.manufacturer, self._source.manufacturer):
            maker = part(holder) or _NO_MANUFACTURER
            name, external_id = comparable(text(maker.name)), comparable(text(maker.external_id))
            if name or external_id:
                return name, external_id
        return "", ""


def of(order: wire.Order) -> list[Item] | None:
    """Return the order's items; None if one of them has no usable id, so that no answer could name it.

    Items can't be split between addresses (uStore), so the first delivery that holds an item is its destination.
    """
    store_id = comparable(text((part(order.store) or _NO_STORE).id))
    currency = comparable(text(order.primary_currency))
    joined: dict[str, tuple[str, Destination | None]] = {}
    for delivery, held in wire.deliveries(order):
        entry = comparable(text(delivery.delivery_method)), _destination(delivery)
        for held_id in held:
            joined.setdefault(held_id, entry)
    order_items: list[Item] = []
    for source in wire.items(order):
        item_id = identifier(source.id)
        if item_id is None or "\x00" in item_id or "\ufffd" in item_id:
            return None
        order_items.append(Item(source, item_id, store_id, currency, *joined.get(item_id, ("", None))))
    return order_items


def _destination(delivery: wire.Delivery) -> Destination | None:
    address = part(delivery.shipping_address)
    if address is None:
        return None
    country_text, state_text = name(address.country_name), name(address.state_name)
    country = addresses.country(country_text)
    states = addresses.state(country, state_text) if country else ()
    return Destination(
        country=country,
        country_text=country_text or "",
        states=states,
        state_text=state_text or "",
        postal=addresses.full_postal(name(address.zip), country, states),
    )
