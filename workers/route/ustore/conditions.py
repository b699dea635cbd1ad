"""The compiled conditions of a rule's `when`: whether one holds, why not, and whether it is wider than another.

Texts are compared without regard to case and surrounding spaces. Countries and states are compared as ISO codes, and
as written only if one of the two is unknown to ISO. Postal prefixes are compared without spaces and dashes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Protocol

from schemas.platforms.ustore.config import Conditions, Units, Values
from schemas.platforms.ustore.values import text, texts
from workers.route.ustore import addresses
from workers.route.ustore.items import Destination, Item, comparable


class Condition(Protocol):
    field: str
    """The key in the configuration, for example `ship_to_state` or `property.Finishing`."""

    def holds(self, item: Item) -> bool: ...

    def actual_text(self, item: Item) -> str:
        """Return the item's value, for people."""
        ...

    def expected_text(self) -> str:
        """Return the values that match, for people."""
        ...

    def covers(self, other: "Condition") -> bool:
        """Return whether this condition holds wherever `other`, on the same field, holds. False when in doubt."""
        ...


class Text:
    """A field has one of several texts."""

    def __init__(self, field: str, values: Values, read: Callable[[Item], str]) -> None:
        self.field = field
        self._texts = texts(values)
        self._accepted = frozenset(comparable(value) for value in self._texts)
        self._read = read

    def holds(self, item: Item) -> bool:
        return self._read(item) in self._accepted

    def actual_text(self, item: Item) -> str:
        return self._read(item) or "empty"

    def expected_text(self) -> str:
        return " or ".join(self._texts)

    def covers(self, other: Condition) -> bool:
        return isinstance(other, Text) and other._accepted <= self._accepted


class Property:
    """A property, identified by DisplayName or @externalId, has one of several values. An absent one has no value."""

    def __init__(self, name: str, values: Values) -> None:
        self.field = f"property.{name}"
        self._name = comparable(name)
        self._texts = texts(values)
        self._accepted = frozenset(comparable(value) for value in self._texts)

    def _values(self, item: Item) -> Iterator[str]:
        return (value for name, external_id, value in item.properties() if self._name in (name, external_id))

    def holds(self, item: Item) -> bool:
        return any(value in self._accepted for value in self._values(item))

    def actual_text(self, item: Item) -> str:
        return ", ".join(value or "empty" for value in self._values(item)) or "absent"

    def expected_text(self) -> str:
        return " or ".join(value or "empty" for value in self._texts)

    def covers(self, other: Condition) -> bool:
        return isinstance(other, Property) and other._name == self._name and other._accepted <= self._accepted


class _ShipTo(ABC):
    """A condition on the destination. It never holds for an item without an address."""

    field: str

    def holds(self, item: Item) -> bool:
        return item.destination is not None and self._fits(item.destination)

    def actual_text(self, item: Item) -> str:
        return (
            "unknown: the item has no address" if item.destination is None else self._shown(item.destination) or "empty"
        )

    @abstractmethod
    def _fits(self, destination: Destination) -> bool: ...

    @abstractmethod
    def _shown(self, destination: Destination) -> str: ...


class Country(_ShipTo):
    field = "ship_to_country"

    def __init__(self, values: Values) -> None:
        self._texts = texts(values)
        self.codes = frozenset(code for value in self._texts if (code := addresses.country(value)) is not None)
        self.unknown = [value for value in self._texts if addresses.country(value) is None]
        self._spelt = frozenset(addresses.fold(value) for value in self.unknown) - {""}

    def _fits(self, destination: Destination) -> bool:
        if destination.country is not None:
            return destination.country in self.codes
        return addresses.fold(destination.country_text) in self._spelt

    def _shown(self, destination: Destination) -> str:
        return destination.country or destination.country_text

    def expected_text(self) -> str:
        return " or ".join(self._texts)

    def covers(self, other: Condition) -> bool:
        return isinstance(other, Country) and other.codes <= self.codes and other._spelt <= self._spelt


class State(_ShipTo):
    field = "ship_to_state"

    def __init__(self, values: Values, countries: frozenset[str]) -> None:
        """Compile the states. `countries` are those of the same rule's ship_to_country; empty: any country."""
        self._texts = texts(values)
        self._spelt = frozenset(addresses.fold(value) for value in self._texts) - {""}
        self._countries = countries
        self._by_country: dict[str, frozenset[str]] = {}
        self._codes = frozenset(code for country in countries for code in self._in(country))

    def _in(self, country: str) -> frozenset[str]:
        """Return the codes of the states in a country; computed for its first order, and cached."""
        if country not in self._by_country:
            states = (addresses.state(country, value) for value in self._texts)
            self._by_country[country] = frozenset(codes[0] for codes in states if codes)
        return self._by_country[country]

    def nowhere(self) -> list[str]:
        """Return the values that are not a state of the rule's countries; none if the rule names no country."""
        if not self._countries:
            return [value for value in self._texts if not addresses.is_state_anywhere(value)]
        return [value for value in self._texts if not any(addresses.state(c, value) for c in self._countries)]

    def expected_countries(self) -> str:
        """Return which countries `nowhere` looks at, for people."""
        return "the rule's ship_to_country" if self._countries else "any country"

    def _fits(self, destination: Destination) -> bool:
        if destination.country is not None and destination.states:
            codes = self._in(destination.country)
            return any(state in codes for state in destination.states)
        return addresses.fold(destination.state_text) in self._spelt

    def _shown(self, destination: Destination) -> str:
        return destination.states[0] if destination.states else destination.state_text

    def expected_text(self) -> str:
        return " or ".join(self._texts)

    def covers(self, other: Condition) -> bool:
        return isinstance(other, State) and (
            other._spelt <= self._spelt
            or (other._countries <= self._countries and bool(other._codes) and self._has(other))
        )

    def _has(self, other: "State") -> bool:
        return not other.nowhere() and other._codes <= self._codes


class ZipPrefix(_ShipTo):
    field = "ship_to_zip_prefix"

    def __init__(self, values: Values) -> None:
        self._texts = texts(values)
        self._prefixes = tuple(addresses.postal(value) for value in self._texts)
        listed = values if isinstance(values, list) else [values]
        self.numbers = [text for text, value in zip(self._texts, listed, strict=True) if not isinstance(value, str)]
        self.empty = [text for text, prefix in zip(self._texts, self._prefixes, strict=True) if not prefix]

    def _fits(self, destination: Destination) -> bool:
        return bool(destination.postal) and destination.postal.startswith(self._prefixes)

    def _shown(self, destination: Destination) -> str:
        return destination.postal

    def expected_text(self) -> str:
        return " or ".join(f"{value}…" for value in self._texts)

    def covers(self, other: Condition) -> bool:
        return isinstance(other, ZipPrefix) and all(prefix.startswith(self._prefixes) for prefix in other._prefixes)


class Limit:
    """`min_units` or `max_units`, both inclusive. Neither holds for an item without a readable quantity."""

    def __init__(self, field: str, value: Units) -> None:
        self.field = field
        self._least = field == "min_units"
        amounts = value if isinstance(value, list) else [value]
        # Of several amounts, one must hold, so only the easiest one matters.
        self.amount = Decimal(str(min(amounts) if self._least else max(amounts)))

    def holds(self, item: Item) -> bool:
        units = item.units()
        return units is not None and (units >= self.amount if self._least else units <= self.amount)

    def actual_text(self, item: Item) -> str:
        units = item.units()
        return "units unknown" if units is None else f"{units.normalize():f} units"

    def expected_text(self) -> str:
        return f"{'at least' if self._least else 'at most'} {self.amount.normalize():f}"

    def covers(self, other: Condition) -> bool:
        if not isinstance(other, Limit) or other.field != self.field:
            return False
        return other.amount >= self.amount if self._least else other.amount <= self.amount


_TEXTS: dict[str, Callable[[Item], str]] = {
    "product_id": lambda item: comparable(text(item.product.id)),
    "product_external_id": lambda item: comparable(text(item.product.external_id)),
    "product_name": lambda item: comparable(text(item.product.name)),
    "catalog_number": lambda item: comparable(text(item.product.catalog_number)),
    "product_type": lambda item: comparable(text(item.product.type)),
    "store_id": lambda item: item.store_id,
    "delivery_method": lambda item: item.method,
    "currency": lambda item: item.currency,
}


def compile_when(when: Conditions) -> tuple[Condition, ...]:
    """Return the compiled conditions, the cheap ones first: all must hold, so the order affects only the time."""
    conditions: list[Condition] = []
    for field, read in _TEXTS.items():
        values: Values | None = getattr(when, field)
        if values is not None:
            conditions.append(Text(field, values, read))
    countries: frozenset[str] = frozenset()
    if when.ship_to_country is not None:
        country = Country(when.ship_to_country)
        # The states of an unknown country are unknown too.
        countries = frozenset() if country.unknown else country.codes
        conditions.append(country)
    if when.ship_to_state is not None:
        conditions.append(State(when.ship_to_state, countries))
    if when.ship_to_zip_prefix is not None:
        conditions.append(ZipPrefix(when.ship_to_zip_prefix))
    if when.min_units is not None:
        conditions.append(Limit("min_units", when.min_units))
    if when.max_units is not None:
        conditions.append(Limit("max_units", when.max_units))
    conditions += [Property(name, values) for name, values in when.property.items()]
    return tuple(conditions)
