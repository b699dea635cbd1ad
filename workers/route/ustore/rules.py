"""The compiled rules of an account: the manufacturer of an item, and the rule that chooses it."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from schemas.allocation import ItemAllocation
from schemas.platforms.ustore.config import Account, Manufacturer
from schemas.platforms.ustore.config import Rule as Written
from workers.route.ustore import addresses, distance
from workers.route.ustore.conditions import Condition, compile_when
from workers.route.ustore.items import Item, comparable
from workers.route.ustore.split import Shares, point


class Choice(msgspec.Struct, frozen=True):
    """A manufacturer, and how it was chosen if that isn't obvious."""

    manufacturer: str
    detail: str | None = None


class Strategy(Protocol):
    """How a rule chooses if its conditions hold."""

    def choose(self, item: Item) -> Choice | None:
        """Return the choice; None if there is none, so that the rule does not match."""
        ...

    def why_not(self, item: Item) -> str:
        """Return for people why `choose` returns None."""
        ...


class Fixed:
    """Choose always the same manufacturer."""

    def __init__(self, manufacturer: str) -> None:
        self._choice = Choice(manufacturer)

    def choose(self, item: Item) -> Choice | None:
        return self._choice

    def why_not(self, item: Item) -> str:
        return ""


class Split:
    """Choose by weights and the item's id."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._shares = Shares(weights)

    def choose(self, item: Item) -> Choice | None:
        manufacturer = self._shares.choose(item.id)
        share = self._shares.percent[manufacturer]
        return Choice(manufacturer, f"share of {share:.4g} %, item at {100 * point(item.id):.4g} %")

    def why_not(self, item: Item) -> str:
        return ""


class Nearest:
    """Choose the manufacturer closest to the item's destination; of equally close ones, the first."""

    def __init__(self, manufacturers: list[Manufacturer]) -> None:
        places = [(manufacturer.id, place_of(manufacturer)) for manufacturer in manufacturers]
        self.places = [(name, place) for name, place in places if place is not None]
        self._known: dict[distance.Place, Choice] = {}

    def distances(self, start: distance.Place) -> list[tuple[str, float]]:
        """Return pairs of manufacturer and kilometres, in the order of the configuration."""
        return [(name, distance.between(start, place)) for name, place in self.places]

    def choose(self, item: Item) -> Choice | None:
        start = None if item.destination is None else item.destination.place()
        if start is None or not self.places:
            return None
        choice = self._known.get(start)
        if choice is None:
            if len(self._known) >= 50_000:
                self._known.clear()  # they are computed again within microseconds
            choice = self._known[start] = self._closest(start)
        return choice

    def _closest(self, start: distance.Place) -> Choice:
        measured = self.distances(start)
        name, kilometres = min(measured, key=lambda entry: entry[1])  # the first of equals
        others = ", ".join(f"{other} at {far:.0f} km" for other, far in measured if other != name)
        place = dict(self.places)[name]
        detail = f"{name} at {kilometres:.0f} km ({start.describe()} to {place.describe()})"
        return Choice(name, f"{detail}; {others}" if others else detail)

    def why_not(self, item: Item) -> str:
        if item.destination is None:
            return "nearest: the item has no address"
        if not self.places:
            return "nearest: it isn't known where any of its manufacturers is"
        return f"nearest: it isn't known where {item.destination.describe() or 'an empty address'} is"


class Rule:
    """One rule of an account."""

    def __init__(self, written: Written, position: int, manufacturers: Mapping[str, Manufacturer]) -> None:
        self.name = written.name or f"rule {position}"
        self.written = written
        self.conditions: tuple[Condition, ...] = compile_when(written.when)
        self.strategy: Strategy
        if written.manufacturer is not None:
            self.strategy = Fixed(written.manufacturer)
        elif written.nearest is not None:
            self.strategy = Nearest([manufacturers[name] for name in written.nearest])
        else:
            self.strategy = Split(written.split or {})

    def choose(self, item: Item) -> Choice | None:
        """Return the choice for an item; None if the rule does not match."""
        for condition in self.conditions:
            if not condition.holds(item):
                return None
        return self.strategy.choose(item)

    def why_not(self, item: Item) -> list[str]:
        """Return for people all reasons why the rule does not match; an empty list if it does."""
        failed = [
            f"{condition.field} is {condition.actual_text(item)}, not {condition.expected_text()}"
            for condition in self.conditions
            if not condition.holds(item)
        ]
        return failed or ([] if self.strategy.choose(item) is not None else [self.strategy.why_not(item)])


class Rules:
    """The compiled rules of one account. A reload of the configuration creates new ones."""

    def __init__(self, account: Account) -> None:
        """Load the data that the rules need, so that no order waits for it: at most about 0.3 s, once per process."""
        self._fallback = account.fallback
        known = {manufacturer.id: manufacturer for manufacturer in account.manufacturers}
        addresses.warm()
        if any(rule.nearest for rule in account.rules):
            distance.gazetteer()
        self.rules = [Rule(written, place, known) for place, written in enumerate(account.rules, 1)]
        self._by_external_id = {
            comparable(m.external_id): m.id for m in reversed(account.manufacturers) if m.external_id
        }
        self._by_name = {comparable(m.name): m.id for m in reversed(account.manufacturers) if m.name}

    def allocate(self, item: Item) -> ItemAllocation | None:
        """Allocate an item by the first rule that matches, else by the fallback; None if it can't be produced."""
        for rule in self.rules:
            choice = rule.choose(item)
            if choice is not None:
                return ItemAllocation(item.id, choice.manufacturer, rule.name, choice.detail)
        return self.fall_back(item)

    def fall_back(self, item: Item) -> ItemAllocation | None:
        """Allocate an item that no rule matches, as the account specifies; None if it can't be produced."""
        fallback = self._fallback
        if fallback == "refuse":
            return None
        if fallback != "product":
            return ItemAllocation(item.id, fallback, f"fallback: {fallback}")
        name, external_id = item.maker()
        manufacturer = self._by_external_id.get(external_id) or self._by_name.get(name)
        return None if manufacturer is None else ItemAllocation(item.id, manufacturer, "fallback: product")


def place_of(manufacturer: Manufacturer) -> distance.Place | None:
    """Return a manufacturer's place; None if its country is unknown."""
    country = addresses.country(manufacturer.country)
    if country is None:
        return None
    states = addresses.state(country, manufacturer.state)
    postal = addresses.full_postal(manufacturer.postal_code, country, states)
    return distance.gazetteer().locate(country, states, postal)
