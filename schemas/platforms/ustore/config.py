"""The shape of `[accounts.ustore.<name>]`: secrets, manufacturers and the rules that choose (contract §2)."""

import math
from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias

import msgspec

from schemas import lenient
from schemas.config import Seconds, Secret

Text = Annotated[str, msgspec.Meta(min_length=1)]
Value: TypeAlias = str | int | float | bool
Values: TypeAlias = Value | Annotated[list[Value], msgspec.Meta(min_length=1)]
"""A value, or a list of which one must match. Numbers and booleans mean their text: uStore sends everything as text."""
Amount: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
Units: TypeAlias = Amount | Annotated[list[Amount], msgspec.Meta(min_length=1)]


class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions that must all hold. Those on a destination (`ship_to_…`) never hold for an item without an address."""

    property: dict[Text, Values] = {}
    """Value or values by name (DisplayName or @externalId), regardless of case."""
    product_id: Values | None = None
    product_external_id: Values | None = None
    product_name: Values | None = None
    catalog_number: Values | None = None
    product_type: Values | None = None
    store_id: Values | None = None
    ship_to_country: Values | None = None
    """Code or name, in English, any language that we answer in, or the country's own: `US`, `Germany`, `Polska`."""
    ship_to_state: Values | None = None
    """Code or name: `NY`, `US-NY`, `New York`."""
    ship_to_zip_prefix: Values | None = None
    delivery_method: Values | None = None
    min_units: Units | None = None
    """TotalUnits of the item, inclusive; of several values, one must hold."""
    max_units: Units | None = None
    currency: Values | None = None
    """The value of the order's @primaryCurrency."""


ID_BYTES = 128
"""Maximum bytes of a manufacturer's id, which is part of a routing key: AMQP allows 255."""


class Manufacturer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A print shop that uStore knows."""

    id: Text
    """uStore's internal id, which is sent in the answer."""
    name: Text | None = None
    """Matches Manufacturer.Name in the order."""
    external_id: Text | None = None
    """Matches Manufacturer.@externalId in the order."""
    country: Text | None = None
    state: Text | None = None
    postal_code: Text | None = None

    def __post_init__(self) -> None:
        if len(self.id.encode("utf-8", "surrogatepass")) > ID_BYTES:
            raise ValueError(f"`id` is longer than {ID_BYTES} bytes")


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions, and exactly one way to choose: `manufacturer`, `nearest` or `split`."""

    name: Text | None = None
    """Name in records; a rule without one is called by its position: `rule 3`."""
    when: Conditions = msgspec.field(default_factory=Conditions)
    manufacturer: Text | None = None
    nearest: Annotated[list[Text], msgspec.Meta(min_length=1)] | None = None
    """The closest to the shipping address by postal code; of equally close ones, the first."""
    split: dict[Text, Annotated[float, msgspec.Meta(ge=0)]] | None = None
    """Weights by manufacturer. The same item always gets the same manufacturer."""

    def __post_init__(self) -> None:
        given = [name for name in ("manufacturer", "nearest", "split") if getattr(self, name) is not None]
        label = f" {self.name!r}" if self.name else ""
        if len(given) != 1:
            raise ValueError(
                f"rule{label} needs exactly one of manufacturer, nearest, split; it has {' and '.join(given) or 'none'}"
            )
        if self.split is not None and not (math.isfinite(total := sum(self.split.values())) and total > 0):
            raise ValueError(f"rule{label}: the weights of split must be finite and one of them above 0")

    def chosen(self) -> tuple[str, ...]:
        """Return every manufacturer that the rule may choose, in the order of the configuration."""
        if self.manufacturer is not None:
            return (self.manufacturer,)
        return tuple(self.nearest if self.nearest is not None else self.split or ())


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, weakref=True):
    """The settings of `[accounts.ustore.<name>]`."""

    secrets: Annotated[list[Secret], msgspec.Meta(min_length=1)]
    """signatureKeys, each of which is accepted, so that they can be rotated without a gap."""
    signature_encoding: Literal["base64", "hex"] = "base64"
    answer_timeout: Seconds = 2.0
    """Seconds until the shopper's checkout gets a 503."""
    fallback: Text = "product"
    """If no rule matches: `product` (the product's own manufacturer), `refuse`, or a manufacturer's id."""
    manufacturers: list[Manufacturer] = []
    rules: list[Rule] = []
    """The first that matches decides, item by item."""

    def __post_init__(self) -> None:
        ids = [manufacturer.id for manufacturer in self.manufacturers]
        _no_twins("id", ids)
        _no_twins("external_id", (_folded(m.external_id) for m in self.manufacturers if m.external_id))
        _no_twins("name", (_folded(m.name) for m in self.manufacturers if m.name and not m.external_id))
        known = {manufacturer.id: manufacturer for manufacturer in self.manufacturers}
        listed = ", ".join(repr(name) for name in ids) or "none"
        if self.fallback not in ("product", "refuse") and self.fallback not in known:
            raise ValueError(
                f"fallback is {self.fallback!r}, which is not in manufacturers (known: {listed}) and neither "
                f'"product" nor "refuse"'
            )
        for place, rule in enumerate(self.rules):
            where = f"rules[{place}]" + (f" {rule.name!r}" if rule.name else "")
            for chosen in rule.chosen():
                if chosen not in known:
                    raise ValueError(f"{where} names manufacturer {chosen!r}, which is not in manufacturers: {listed}")
                if rule.nearest is not None and known[chosen].country is None:
                    raise ValueError(f"{where}: nearest needs a place for {chosen!r}; give that manufacturer a country")


def _folded(name: str) -> str:
    return lenient.composed(lenient.composed(name).casefold())


def _no_twins(key: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"manufacturers: {key} {value!r} stands twice")
        seen.add(value)
