"""Whether patterns of event types and accounts can select anything: a typing error must not become silence."""

import re
from collections.abc import Iterable, Sequence

from schemas import erasure, registry
from schemas.consumers import Consumer
from schemas.patterns import fits

_NAME_OR_STARS = re.compile(r"[A-Za-z0-9_*-]+")
NAME_LENGTH = 64
"""Characters of the longest account name."""


def type_problem(pattern: str) -> str | None:
    """Return why a pattern matches no event type, or None."""
    known = registry.published_types()
    if any(fits(name, (pattern,)) for name in known):
        return None
    return f"{pattern!r} matches no event type; known types: {', '.join(known)}"


def account_problem(pattern: str) -> str | None:
    """Return why a pattern of `platform/account` can match no account of any platform, or None."""
    platforms = registry.platforms()
    if any(can_name_account(pattern, platform) for platform in platforms):
        return None
    return (
        f"{pattern!r} matches no account; write platform/account, of {', '.join(platforms)}; "
        f"an account's name has letters, digits, - and _ only"
    )


def can_name_account(pattern: str, platform: str) -> bool:
    """Return whether a pattern can match `platform/…` with a name that an account may have."""
    return any(_can_be_a_name(rest) for rest in _rests(pattern, f"{platform}/"))


def can_select(types: Sequence[str], accounts: Sequence[str], sent: Iterable[str]) -> bool:
    """Return whether an event of one of the types in `sent` can match both a type and an account."""
    return any(
        any(can_name_account(account, name.partition(".")[0]) for account in accounts)
        for name in sent
        if fits(name, types) or any(recipient(pattern)[0] == name for pattern in types)
    )


def recipient(pattern: str) -> tuple[str, str]:
    """Return the type and the recipient of a pattern such as `ustore.manufacturer_order.2`; empty if it has none."""
    for type_ in registry.announced_types():
        if pattern.startswith(f"{type_}.") and len(pattern) > len(type_) + 1:
            return type_, pattern[len(type_) + 1 :]
    return "", ""


def routing_key_problem(pattern: str) -> str | None:
    """Return what to write instead of a routing key such as `ustore.manufacturer_order.printshop.2`, or None."""
    type_, rest = recipient(pattern)
    if "." not in rest:
        return None
    account, _, identifier = rest.partition(".")
    platform = type_.partition(".")[0]
    return (
        f"{pattern!r} is a routing key; write '{type_}.{identifier}', and '{platform}/{account}' in accounts; "
        "in an ID, write * for a dot"
    )


def with_platform(account: str) -> str:
    """Return the pattern of `platform/account` for what commands take: a name without a platform is of any."""
    return account if "/" in account or account == "*" else f"*/{account}"


def consumer_problem(consumer: Consumer) -> str | None:
    """Return why a type or an account of a consumer can't be meant, although others of it can; else None."""
    for account in consumer.accounts:
        if (problem := account_problem(with_platform(account))) is not None:
            return problem
    pairs = [
        (type_, account)
        for type_ in consumer.types
        for account in consumer.accounts
        if type_ in ("*", erasure.TYPE) or can_name_account(with_platform(account), type_.partition(".")[0])
    ]
    for type_ in consumer.types:
        if type_ not in {entry for entry, _ in pairs}:
            return f"type {type_!r} has none of these accounts: leave it out, or add one"
    for account in consumer.accounts:
        if account not in {entry for _, entry in pairs}:
            return f"account {account!r} has none of these types: leave it out, or add one"
    return None


def _can_be_a_name(rest: str) -> bool:
    return bool(_NAME_OR_STARS.fullmatch(rest)) and len(rest.replace("*", "")) <= NAME_LENGTH


def _rests(pattern: str, start: str) -> set[str]:
    """Return what can be left of a pattern when its beginning has matched `start`."""
    places = {0}
    for character in start:
        places = {
            place if pattern[place] == "*" else place + 1
            for place in _with_empty_stars(pattern, places)
            if place < len(pattern) and pattern[place] in ("*", character)
        }
    return {pattern[place:] for place in places}


def _with_empty_stars(pattern: str, places: set[int]) -> set[int]:
    reached = set(places)
    for place in places:
        while place < len(pattern) and pattern[place] == "*":
            place += 1
            reached.add(place)
    return reached
