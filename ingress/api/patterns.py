"""Checks that patterns can match something, because a typing error must not become a silent subscription."""

from collections.abc import Sequence

from ingress.api.errors import invalid
from schemas import registry, selection
from schemas.outbound import Dialect
from schemas.patterns import fits


def check_types(patterns: Sequence[str], dialect: Dialect) -> None:
    """Raise ProblemError (400) if a pattern matches no existing type, or none of them a type that the dialect sends.

    A pattern may name one recipient's shares of orders (`ustore.manufacturer_order.2`). Recipients are not looked up,
    because one may be configured tomorrow.
    """
    known, announced = registry.event_types(), registry.announced_types()
    for pattern in patterns:
        if not any(fits(name, (pattern,)) for name in known) and selection.recipient(pattern)[0] not in announced:
            raise invalid({"types": f"{pattern!r} matches no event type; known types: {', '.join(known)}"})
    sent = [name for name in known if dialect.supports(name)]
    shares = [type_ for type_ in announced if dialect.supports(type_)]
    if not any(fits(name, patterns) for name in sent) and not any(
        selection.recipient(p)[0] in shares for p in patterns
    ):
        raise invalid({"types": f"match nothing that dialect {dialect.name} sends; it sends {', '.join(sent)}"})


def check_accounts(patterns: Sequence[str]) -> None:
    """Raise ProblemError (400) if a pattern of `platform/account` cannot match an account of an existing platform.

    Accounts are not looked up, because one may be configured tomorrow, and a removed one has stored events.
    """
    for pattern in patterns:
        if (problem := selection.account_problem(pattern)) is not None:
            raise invalid({"accounts": problem})


def check_selection(types: Sequence[str], accounts: Sequence[str], dialect: Dialect) -> None:
    """Raise ProblemError (400) unless a matching account can have a matching event that the dialect sends."""
    for pattern in types:
        if (problem := selection.routing_key_problem(pattern)) is not None:
            raise invalid({"types": problem})
    if not selection.can_select(types, accounts, filter(dialect.supports, registry.event_types())):
        raise invalid(
            {"accounts": f"no account there has any of these types in dialect {dialect.name}: {', '.join(types)}"}
        )
