"""Patterns of types and accounts that can match something: a typing error must not become a silent subscription."""

from collections.abc import Iterable, Sequence

from ingress.api.errors import invalid
from schemas import registry
from schemas.outbound import Dialect
from schemas.patterns import fits


def check_types(asked: Sequence[str], dialect: Dialect) -> None:
    """Raises ProblemError: 400, unless each pattern matches a type that exists, and any of them one that the dialect
    sends.

    A pattern may name one recipient's shares of orders (`ustore.manufacturer_order.2`). Recipients are not looked up,
    because one may be configured tomorrow.
    """
    known, announced = registry.event_types(), registry.announced_types()
    for pattern in asked:
        if not any(fits(name, (pattern,)) for name in known) and not _is_recipients(pattern, announced):
            raise invalid({"types": f"{pattern!r} matches no type of event; there are {', '.join(known)}"})
    sent = [name for name in known if dialect.supports(name)]
    shares = [type_ for type_ in announced if dialect.supports(type_)]
    if not any(fits(name, asked) for name in sent) and not any(_is_recipients(pattern, shares) for pattern in asked):
        raise invalid({"types": f"match nothing that dialect {dialect.name} sends; it sends {', '.join(sent)}"})


def check_accounts(asked: Sequence[str]) -> None:
    """Raises ProblemError: 400, unless each pattern of `platform/account` can match an account of a platform that
    exists.

    Accounts are not looked up, because one may be configured tomorrow, and one that was removed has stored events.
    """
    platforms = registry.platforms()
    for pattern in asked:
        platform, slash, _ = pattern.partition("/")
        if slash and any(fits(name, (platform,)) for name in platforms):
            continue
        if "*" in platform and any(name.startswith(platform.partition("*")[0]) for name in platforms):
            continue
        raise invalid(
            {"accounts": f"{pattern!r} matches no account; write platform/account, of {', '.join(platforms)}"}
        )


def _is_recipients(pattern: str, types: Iterable[str]) -> bool:
    """Return whether a pattern names one recipient of events of one of these types."""
    return any(pattern.startswith(f"{type_}.") and len(pattern) > len(type_) + 1 for type_ in types)
