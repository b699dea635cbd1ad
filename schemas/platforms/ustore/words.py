"""The manufacturers and rules of an account in words, for people who look at an answered order."""

from collections.abc import Iterator

from schemas.allocation import AllocationWords
from schemas.platforms.ustore.config import Account, Conditions, Rule
from schemas.platforms.ustore.values import texts


def describe(account: Account) -> AllocationWords:
    """Return the names of the manufacturers, and what each rule says, as the account is configured now."""
    fallbacks = {"product": "no rule matched: the product's own manufacturer"}
    if account.fallback not in ("product", "refuse"):
        fallbacks[account.fallback] = "no rule matched: the manufacturer that the account names for that"
    rules = {f"fallback: {name}": text for name, text in fallbacks.items()}
    for place, rule in enumerate(account.rules, 1):
        name, text = rule.name or f"rule {place}", f"{_conditions(rule.when)}: {_choice(rule)}"
        # Several rules may have one name, and records do not say which of them decided.
        rules[name] = f"{rules[name]}; or {text}" if name in rules else text
    return AllocationWords(
        manufacturers={maker.id: maker.name for maker in account.manufacturers if maker.name}, rules=rules
    )


def _conditions(when: Conditions) -> str:
    """Return all conditions in words, such as `ship_to_country is US, min_units is 10`."""
    conditions = list(_each(when))
    return ", ".join(conditions) if conditions else "every item"


def _each(when: Conditions) -> Iterator[str]:
    for name in when.__struct_fields__:
        value = getattr(when, name)
        if value is None or name == "property":
            continue
        yield f"{name} is {' or '.join(texts(value))}"
    for name, values in when.property.items():
        yield f"property {name} is {' or '.join(value or 'empty' for value in texts(values))}"


def _choice(rule: Rule) -> str:
    """Return how the rule chooses in words, such as `the nearest of 1, 2`."""
    if rule.nearest is not None:
        return f"the nearest of {', '.join(rule.nearest)}"
    if rule.split is not None:
        return ", ".join(f"{weight:g} parts to {name}" for name, weight in rule.split.items())
    return f"manufacturer {rule.manufacturer}"
