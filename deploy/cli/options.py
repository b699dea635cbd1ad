"""Options that several commands share, and the parsing of their values."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from deploy.cli.errors import CommandError

LARGEST = 2**63 - 1
"""The largest integer that PostgreSQL and RabbitMQ take."""
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Configuration file.", show_default="CROSSDOCK_CONFIG or ./crossdock.toml"
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        "--state", metavar="DIR", help="State folder of `crossdock up`.", show_default="CROSSDOCK_STATE or ./.crossdock"
    ),
]
Port = Annotated[
    int | None,
    typer.Option("--port", metavar="N", min=0, max=65535, help="Port for webhooks; 0 chooses a free one."),
]
AdminPort = Annotated[
    int | None,
    typer.Option(
        "--admin-port", metavar="N", min=0, max=65535, help="Port for health checks and metrics; 0 chooses a free one."
    ),
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=LARGEST, help="Show at most N.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Management = Annotated[
    str | None,
    typer.Option(
        "--management",
        metavar="URL",
        envvar="RABBITMQ_MANAGEMENT_URL",
        show_envvar=False,
        help="URL of RabbitMQ's management API; by default RABBITMQ_MANAGEMENT_URL.",
    ),
]


def parse_uuid(text: str, param: str, hint: str) -> UUID:
    """Return the ID that the parameter `param` holds. Raises BadParameter with the hint where IDs are listed."""
    from schemas.lenient import normalized

    try:
        return UUID(normalized(text))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not an ID: {hint}", param_hint=param) from None


def parse_key(text: str | None, param: str) -> str | None:
    """Return the key or number that the parameter `param` holds, as it is stored. Raises BadParameter if empty."""
    from schemas.lenient import normalized

    key = None if text is None else normalized(text)
    if key == "":
        raise typer.BadParameter("must not be empty", param_hint=param)
    return key


def parse_time(text: str, param: str, *, others: str = "") -> datetime:
    """Return the time that the parameter `param` holds, in UTC if it has no time zone. Raises BadParameter.

    `others`: what else the parameter accepts, for the error.
    """
    from schemas.values import value_problem

    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r}: write {others}a time as in 2026-11-21T09:30:00Z"
        raise typer.BadParameter(message, param_hint=param) from None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    if (problem := value_problem(time)) is not None:
        raise typer.BadParameter(f"{text!r} {problem}", param_hint=param)
    return time


def confirm(what: str, done: str, how: str = "") -> None:
    """Print what would be done, and ask: `3 messages` would be `discarded`. Raises CommandError unless it is a yes."""
    try:
        is_confirmed = typer.confirm(f"{what} would be {done}{how}. Continue?", err=True)
    except typer.Abort:
        is_confirmed = False
    if not is_confirmed:
        raise CommandError(f"nothing was {done}: answer y, or give --yes")
