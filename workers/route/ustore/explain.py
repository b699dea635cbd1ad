"""Explanations for people: which rules decide about an order, and what is wrong with a set of rules."""

from schemas.platform import UnreadableError
from schemas.platforms.ustore import wire
from schemas.platforms.ustore.config import Account, Manufacturer
from workers.route.answers import Explanation, Step
from workers.route.ustore import addresses, allocate, conditions, distance, items
from workers.route.ustore.rules import Nearest, Rule, place_of


def explain(account: Account, raw: bytes) -> list[Explanation]:
    """Explain every item of an order. Raises UnreadableError if `raw` is not an order, or if an item has no id."""
    order_items = items.of(wire.decode(raw).order)
    if order_items is None:
        raise UnreadableError("an item of the order has no @id, so no answer can name it")
    return [_explain(account, item) for item in order_items]


def _explain(account: Account, item: items.Item) -> Explanation:
    compiled = allocate.rules(account)
    steps: list[Step] = []
    for rule in compiled.rules:
        reasons = rule.why_not(item)
        steps.append(Step(rule.name, not reasons, reasons, _distances(rule, item)))
        if not reasons:
            break
    decided = compiled.allocate(item)
    place = item.destination and item.destination.place()
    units = item.units()
    return Explanation(
        item=item.id,
        name=item.name(),
        units=None if units is None else f"{units:f}",
        destination=None if item.destination is None else item.destination.describe() or "an empty address",
        place=place.describe() if place else None,
        steps=steps,
        manufacturer=decided.manufacturer if decided else None,
        rule=decided.rule if decided else f"fallback: {account.fallback}",
        detail=decided.detail if decided else _refused(account, item),
    )


def _distances(rule: Rule, item: items.Item) -> dict[str, float]:
    if not isinstance(rule.strategy, Nearest):
        return {}
    start = None if item.destination is None else item.destination.place()
    return {} if start is None else {name: round(far, 1) for name, far in rule.strategy.distances(start)}


def _refused(account: Account, item: items.Item) -> str:
    if account.fallback == "refuse":
        return "no rule matches and the account refuses what no rule matches"
    name, external_id = item.maker()
    called = " / ".join(word for word in (name, external_id) if word)
    if not called:
        return "no rule matches and the product has no manufacturer"
    return f"no rule matches and the product's manufacturer ({called}) is not in manufacturers"


def check(account: Account) -> list[str]:
    """Return a sentence for each mistake that an account's rules almost certainly contain."""
    compiled = allocate.rules(account)
    problems = [*_manufacturers(account), *_names(compiled.rules)]
    for position, rule in enumerate(compiled.rules):
        where = f"rule {rule.name!r}"
        problems += [f"{where}: {reason}" for reason in _impossible(rule)]
        problems += [
            f"{where}: the weight of manufacturer {name!r} is 0: it never gets an item" for name in _idle(rule)
        ]
        by = next((earlier for earlier in compiled.rules[:position] if _shadows(earlier, rule)), None)
        if by is not None:
            problems.append(f"{where} can never match: rule {by.name!r} before it takes every item that would")
    if account.fallback == "product" and not any(m.name or m.external_id for m in account.manufacturers):
        problems.append(
            'fallback is "product", but no manufacturer has a name or an external_id by which an order could name it'
        )
    return problems


def _manufacturers(account: Account) -> list[str]:
    problems: list[str] = []
    measured = {name for rule in account.rules for name in rule.nearest or ()}
    for manufacturer in account.manufacturers:
        where = f"manufacturer {manufacturer.id!r}"
        country = addresses.country(manufacturer.country)
        if manufacturer.country is not None and country is None:
            problems.append(f"{where}: no country is called {manufacturer.country!r}; write a code such as US")
        elif (
            country is not None and manufacturer.state is not None and not addresses.state(country, manufacturer.state)
        ):
            problems.append(f"{where}: {country} has no state {manufacturer.state!r}")
        if manufacturer.id not in measured or country is None:
            continue
        problems += _lost_zeros(manufacturer, country)
        place = place_of(manufacturer)
        if place is not None and _is_vague(place, country):
            why = "has no postal_code" if manufacturer.postal_code is None else "has a postal code that isn't known"
            problems.append(f"{where} {why}: nearest measures from the {place.describe()}")
    return problems


def _is_vague(place: distance.Place, country: str) -> bool:
    is_unknown_code = place.precision == "prefix" and distance.gazetteer().has_exact_codes(country)
    return is_unknown_code or place.precision in ("state", "country")


def _lost_zeros(manufacturer: Manufacturer, country: str) -> list[str]:
    full = addresses.full_postal(manufacturer.postal_code, country, addresses.state(country, manufacturer.state))
    if full == addresses.postal(manufacturer.postal_code):
        return []
    return [
        f"manufacturer {manufacturer.id!r}: postal_code {manufacturer.postal_code!r} is read as {full!r}: "
        "write it in full, as text"
    ]


def _names(rules: list[Rule]) -> list[str]:
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f"{names.count(name)} rules are called {name!r}: records won't say which of them decided" for name in twice]


def _idle(rule: Rule) -> list[str]:
    return [name for name, weight in (rule.written.split or {}).items() if weight == 0]


def _impossible(rule: Rule) -> list[str]:
    problems: list[str] = []
    limits = {c.field: c.amount for c in rule.conditions if isinstance(c, conditions.Limit)}
    if limits.get("min_units", 0) > limits.get("max_units", limits.get("min_units", 0)):
        problems.append(f"can never match: min_units {limits['min_units']} is over max_units {limits['max_units']}")
    for condition in rule.conditions:
        if isinstance(condition, conditions.Country):
            problems += [f"no country is called {value!r}: write a code such as US" for value in condition.unknown]
        elif isinstance(condition, conditions.State):
            strays = condition.nowhere()
            problems += [f"{value!r} is not a state of {condition.expected_countries()}" for value in strays]
        elif isinstance(condition, conditions.ZipPrefix):
            problems += [
                f"ship_to_zip_prefix {value} is a number, which has no leading zeros: write it as text, such as "
                f'"{value}" or "0{value}"'
                for value in condition.numbers
            ]
            problems += [
                f"ship_to_zip_prefix {value!r} matches every postal code: write its first characters"
                for value in condition.empty
            ]
    if isinstance(rule.strategy, Nearest) and not rule.strategy.places:
        problems.append("can never match: it isn't known where any of its manufacturers is")
    return problems


def _shadows(earlier: Rule, later: Rule) -> bool:
    """Return whether `earlier` takes every item that `later` would match. False when in doubt."""
    if isinstance(earlier.strategy, Nearest) and not (isinstance(later.strategy, Nearest) and earlier.strategy.places):
        return False  # it passes on items without an address
    return all(any(wide.covers(narrow) for narrow in later.conditions) for wide in earlier.conditions)
