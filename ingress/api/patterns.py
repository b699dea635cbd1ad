"""Checks that patterns can match something, because a typing error must not become a silent subscription."""

from collections.abc import Sequence

from ingress.api.errors import invalid
from schemas import registry
from schemas.consumers import known_types
from schemas.outbound import Dialect
from schemas.patterns import fits
from schemas.platforms.ustore import manufacturer_order


def check_types(patterns: Sequence[str], dialect: Dialect) -> None:
    """Raise ProblemError (400) if a pattern matches no existing type, or none of them a type that the dialect sends.

    A pattern may name one manufacturer's orders (`ustore.manufacturer_order.2`). Manufacturers are not looked up,
    because one may be configured tomorrow.
    """
    known = known_types()
    for pattern in patterns:
        if not any(fits(name, (pattern,)) for name in known) and not _is_manufacturers(pattern):
            raise invalid({"types": f"{pattern!r} matches no event type; known types: {', '.join(known)}"})
    sent = [name for name in known if dialect.supports(name)]
    if not any(fits(name, patterns) for name in sent) and not (
        dialect.supports(manufacturer_order.TYPE) and any(map(_is_manufacturers, patterns))
    ):
        raise invalid({"types": f"match nothing that dialect {dialect.name} sends; it sends {', '.join(sent)}"})


def check_accounts(patterns: Sequence[str]) -> None:
    """Raise ProblemError (400) if a pattern of `platform/account` cannot match an account of an existing platform.

    Accounts are not looked up, because one may be configured tomorrow, and a removed one has stored events.
    """
    platforms = registry.platforms()
    for pattern in patterns:
        platform, slash, _ = pattern.partition("/")
        if slash and any(fits(name, (platform,)) for name in platforms):
            continue
        if "*" in platform and any(name.startswith(platform.partition("*")[0]) for name in platforms):
            continue
        raise invalid(
            {"accounts": f"{pattern!r} matches no account; write platform/account, of {', '.join(platforms)}"}
        )


def _is_manufacturers(pattern: str) -> bool:
    return pattern.startswith(f"{manufacturer_order.TYPE}.") and len(pattern) > len(manufacturer_order.TYPE) + 1
