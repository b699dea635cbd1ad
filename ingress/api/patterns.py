"""Patterns of types and accounts that can match something: a typing error must not become a silent subscription."""

from collections.abc import Sequence

from ingress.api.errors import invalid
from schemas import selection
from schemas.consumers import known_types
from schemas.outbound import Dialect
from schemas.patterns import fits
from schemas.platforms.ustore import manufacturer_order


def check_types(asked: Sequence[str], dialect: Dialect) -> None:
    """Raises ProblemError: 400, unless each pattern matches a type that exists, and any of them one that the dialect
    sends.

    A pattern may name one manufacturer's orders (`ustore.manufacturer_order.2`). Manufacturers are not looked up,
    because one may be configured tomorrow.
    """
    known = known_types()
    for pattern in asked:
        if not any(fits(name, (pattern,)) for name in known) and not _is_manufacturers(pattern):
            raise invalid({"types": f"{pattern!r} matches no type of event; there are {', '.join(known)}"})
    sent = [name for name in known if dialect.supports(name)]
    if not any(fits(name, asked) for name in sent) and not (
        dialect.supports(manufacturer_order.TYPE) and any(map(_is_manufacturers, asked))
    ):
        raise invalid({"types": f"match nothing that dialect {dialect.name} sends; it sends {', '.join(sent)}"})


def check_accounts(asked: Sequence[str]) -> None:
    """Raises ProblemError: 400, unless each pattern of `platform/account` can match an account of a platform that
    exists.

    Accounts are not looked up, because one may be configured tomorrow, and one that was removed has stored events.
    """
    for pattern in asked:
        if (problem := selection.account_problem(pattern)) is not None:
            raise invalid({"accounts": problem})


def check_selection(types: Sequence[str], accounts: Sequence[str], dialect: Dialect) -> None:
    """Raise ProblemError (400) unless an account that matches can have an event that matches and that is sent."""
    for pattern in types:
        if (problem := selection.routing_key_problem(pattern)) is not None:
            raise invalid({"types": problem})
    if not selection.can_select(types, accounts, filter(dialect.supports, known_types())):
        raise invalid(
            {"accounts": f"no account there has any of these types in dialect {dialect.name}: {', '.join(types)}"}
        )


def _is_manufacturers(pattern: str) -> bool:
    return pattern.startswith(f"{manufacturer_order.TYPE}.") and len(pattern) > len(manufacturer_order.TYPE) + 1
