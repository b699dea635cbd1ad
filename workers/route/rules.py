"""An account's rules, compiled: which manufacturer an item goes to, and by which of them."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from schemas.platforms.ustore.config import Account, Manufacturer
from schemas.platforms.ustore.config import Rule as Written
from schemas.platforms.ustore.record import ItemAllocation
from workers.route import addresses, distance
from workers.route.conditions import Condition, compile_when
from workers.route.items import Item, plain
from workers.route.split import Shares, point


class Choice(msgspec.Struct, frozen=True):
    """A manufacturer, and how it was chosen where that isn't plain."""

    manufacturer: str
    detail: str | None = None


class Strategy(Protocol):
    """How a rule whose conditions hold chooses."""

    def choose(self, item: Item) -> Choice | None:
        """None where it can't: the rule then doesn't match."""
        ...

    def why_not(self, item: Item) -> str:
        """For people, where `choose` gives None."""
        ...


class Fixed:
    """Always the same one."""

    def __init__(self, manufacturer: str) -> None:
        self._choice = Choice(manufacturer)

    def choose(self, item: Item) -> Choice | None:
        return self._choice

    def why_not(self, item: Item) -> str:
        return ""


class Split:
    """By weights and the item's id."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._shares = Shares(weights)

    def choose(self, item: Item) -> Choice | None:
        manufacturer = self._shares.choose(item.id)
        share = self._shares.percent[manufacturer]
        return Choice(manufacturer, f"share of {share:.4g} %, item at {100 * point(item.id):.4g} %")

    def why_not(self, item: Item) -> str:
        return ""


class Nearest:
    """The closest to the item's destination; of equally close ones, the first written."""

    def __init__(self, manufacturers: list[Manufacturer]) -> None:
        found = [(manufacturer.id, place_of(manufacturer)) for manufacturer in manufacturers]
        self.places = [(name, place) for name, place in found if place is not None]
        self._known: dict[distance.Place, Choice] = {}

    def distances(self, start: distance.Place) -> list[tuple[str, float]]:
        """(manufacturer, kilometres), in the order written."""
        return [(name, distance.between(start, place)) for name, place in self.places]

    def choose(self, item: Item) -> Choice | None:
        start = None if item.destination is None else item.destination.place()
        if start is None or not self.places:
            return None
        choice = self._known.get(start)
        if choice is None:
            if len(self._known) >= 50_000:
                self._known.clear()  # it costs microseconds to work them out again
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
        self.way: Strategy
        if written.manufacturer is not None:
            self.way = Fixed(written.manufacturer)
        elif written.nearest is not None:
            self.way = Nearest([manufacturers[name] for name in written.nearest])
        else:
            self.way = Split(written.split or {})

    def choose(self, item: Item) -> Choice | None:
        """None where the rule doesn't match."""
        for condition in self.conditions:
            if not condition.holds(item):
                return None
        return self.way.choose(item)

    def why_not(self, item: Item) -> list[str]:
        """Every reason why the rule doesn't match, for people; empty where it does."""
        failed = [
            f"{condition.field} is {condition.actual_text(item)}, not {condition.expected_text()}"
            for condition in self.conditions
            if not condition.holds(item)
        ]
        return failed or ([] if self.way.choose(item) is not None else [self.way.why_not(item)])


class Rules:
    """All that decides for one account. A reload makes a new one."""

    def __init__(self, account: Account) -> None:
        """Reads what the rules need, so that no order waits for it: at most some 0.3 s, once in a process."""
        self._fallback = account.fallback
        known = {manufacturer.id: manufacturer for manufacturer in account.manufacturers}
        addresses.warm()
        if any(rule.nearest for rule in account.rules):
            distance.gazetteer()
        self.rules = [Rule(written, place, known) for place, written in enumerate(account.rules, 1)]
        self._by_external_id = {plain(m.external_id): m.id for m in reversed(account.manufacturers) if m.external_id}
        self._by_name = {plain(m.name): m.id for m in reversed(account.manufacturers) if m.name}

    def allocate(self, item: Item) -> ItemAllocation | None:
        """The first rule that matches, else the fallback; None where the item can't be produced."""
        for rule in self.rules:
            choice = rule.choose(item)
            if choice is not None:
                return ItemAllocation(item.id, choice.manufacturer, rule.name, choice.detail)
        return self.fall_back(item)

    def fall_back(self, item: Item) -> ItemAllocation | None:
        """What the account says of items that no rule matches."""
        fallback = self._fallback
        if fallback == "refuse":
            return None
        if fallback != "product":
            return ItemAllocation(item.id, fallback, f"fallback: {fallback}")
        name, external_id = item.maker()
        manufacturer = self._by_external_id.get(external_id) or self._by_name.get(name)
        return None if manufacturer is None else ItemAllocation(item.id, manufacturer, "fallback: product")


def place_of(manufacturer: Manufacturer) -> distance.Place | None:
    """Where a manufacturer is; None where its country isn't known."""
    country = addresses.country(manufacturer.country)
    if country is None:
        return None
    states = addresses.state(country, manufacturer.state)
    postal = addresses.full_postal(manufacturer.postal_code, country, states)
    return distance.gazetteer().locate(country, states, postal)
