"""Event types and accounts that a command is given: refused if they can select nothing."""

from collections.abc import Sequence

import typer


def check_types(patterns: Sequence[str], option: str) -> None:
    """Raise BadParameter for a pattern that matches no event type."""
    from schemas.selection import type_problem

    for pattern in patterns:
        if (problem := type_problem(pattern)) is not None:
            raise typer.BadParameter(problem, param_hint=option)


def check_accounts(patterns: Sequence[str], option: str) -> None:
    """Raise BadParameter for a pattern that no account can have, and warn of one that is not configured here."""
    from schemas.selection import account_problem, with_platform

    for pattern in patterns:
        if (problem := account_problem(with_platform(pattern))) is not None:
            raise typer.BadParameter(problem, param_hint=option)
    warn_of_accounts(patterns, option)


def warn_of_accounts(patterns: Sequence[str], option: str) -> None:
    """Print a line for each account that is not configured here.

    It may be configured elsewhere, and a removed account has stored events, so this is not an error.
    """
    from deploy import config as configuration
    from schemas.patterns import fits
    from schemas.selection import with_platform

    try:
        names = configuration.account_names()
    except configuration.ConfigError:
        return
    for pattern in patterns:
        if names and not any(fits(name, [with_platform(pattern)]) for name in names):
            typer.echo(
                f"crossdock: {option}: no account {pattern!r} is configured here; there are {', '.join(names)}",
                err=True,
            )
