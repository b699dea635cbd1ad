"""What a rule can look at: an order item with its order and its destination, as texts made ready for comparing."""

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from schemas import lenient
from schemas.platforms.ustore import wire
from schemas.platforms.ustore.order import deliveries, items
from schemas.platforms.ustore.values import each, identifier, part, text
from workers.route import addresses, distance

_NO_PRODUCT = wire.Product()
_NO_QUANTITIES = wire.Quantities()
_NO_STORE = wire.Store()
_NO_MANUFACTURER = wire.Manufacturer()
_NO_PROPERTY = wire.Property()


def plain(value: str | None) -> str:
    """A text as rules compare it: without regard to case and surrounding spaces."""
    return value.strip().casefold() if value else ""


class Destination(msgspec.Struct, frozen=True):
    """A shipping address, in ISO codes where they are known and as written where not."""

    country: str | None
    """ISO 3166-1 alpha-2."""
    country_text: str
    states: tuple[str, ...]
    """ISO 3166-2, the smallest first: `("GB-KEN", "GB-ENG")`."""
    state_text: str
    postal: str
    """As `addresses.full_postal` writes it."""

    def place(self) -> distance.Place | None:
        """Where it is, as well as we know; None where even the country isn't known."""
        return distance.gazetteer().locate(self.country, self.states, self.postal) if self.country else None

    def describe(self) -> str:
        """For people: `US US-PA 19028`."""
        state = self.states[0] if self.states else self.state_text
        return " ".join(word for word in (self.country or self.country_text, state, self.postal) if word)


class Item:
    """One order item."""

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
        """What the answer names it by: uStore looks for its own spelling, blanks included."""
        self.product = part(source.product) or _NO_PRODUCT
        self.store_id = store_id
        self.currency = currency
        self.method = method
        self.destination = destination

    def name(self) -> str:
        """As the shopper knows it."""
        return text(self.product.name) or text(self.product.catalog_number) or self.id

    def units(self) -> Decimal | None:
        return lenient.number((part(self._source.quantities) or _NO_QUANTITIES).total_units)

    def properties(self) -> Iterator[tuple[str, str, str]]:
        """DisplayName, @externalId and value of each property, ready for comparing."""
        holder = part(self._source.property_values)
        for entry in [] if holder is None else each(holder.property_value):
            known = part(entry.property) or _NO_PROPERTY
            yield plain(text(known.display_name)), plain(text(known.external_id)), plain(text(entry.value))

    def maker(self) -> tuple[str, str]:
        """Name and @externalId of the product's own manufacturer (the item's, if it has none), ready for comparing."""
        for holder in (self.product.manufacturer, self._source.manufacturer):
            maker = part(holder) or _NO_MANUFACTURER
            name, external_id = plain(text(maker.name)), plain(text(maker.external_id))
            if name or external_id:
                return name, external_id
        return "", ""


def of(order: wire.Order) -> list[Item] | None:
    """The order's items; None if one has no id, so that nothing could be said about it in an answer.

    Items can't be split between addresses (uStore), so the first delivery that holds an item is its destination.
    """
    store_id = plain(text((part(order.store) or _NO_STORE).id))
    currency = plain(text(order.primary_currency))
    joined: dict[str, tuple[str, Destination | None]] = {}
    for delivery, held in deliveries(order):
        entry = plain(text(delivery.delivery_method)), _destination(delivery)
        for held_id in held:
            joined.setdefault(held_id, entry)
    found: list[Item] = []
    for source in items(order):
        item_id = identifier(source.id)
        if item_id is None or "\x00" in item_id or "\ufffd" in item_id:
            return None
        found.append(Item(source, item_id, store_id, currency, *joined.get(item_id, ("", None))))
    return found


def _destination(delivery: wire.Delivery) -> Destination | None:
    address = part(delivery.shipping_address)
    if address is None:
        return None
    country_text, state_text = text(address.country_name), text(address.state_name)
    country = addresses.country(country_text)
    states = addresses.state(country, state_text) if country else ()
    return Destination(
        country=country,
        country_text=country_text or "",
        states=states,
        state_text=state_text or "",
        postal=addresses.full_postal(text(address.zip), country, states),
    )
