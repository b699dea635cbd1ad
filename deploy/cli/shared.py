"""What the commands share: errors in one line, where the servers are, how a table or JSON is printed."""

import asyncio
import functools
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import orjson
import typer

P = ParamSpec("P")
R = TypeVar("R")

ConfigFile = Annotated[Path | None, typer.Option("--config", help="Configuration file.", show_default="crossdock.toml")]
State = Annotated[Path | None, typer.Option("--state", help="State folder of a running `up`.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


class Failed(Exception):
    """What can't be done, in one line that says what to do. Exit code 1."""


def failing(command: Callable[P, R]) -> Callable[P, R]:
    """Foreseeable trouble becomes one line on standard error and exit code 1."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            die("interrupted")
        except Exception as error:
            text = _line(error)
            if text is None:
                raise
            die(text)

    return wrapped


def die(text: str) -> NoReturn:
    """One line on standard error, exit code 1."""
    typer.echo(f"crossdock: {text}", err=True)
    raise typer.Exit(1)


def _line(error: Exception) -> str | None:
    """The error in one line, or None for one that nobody foresaw."""
    import asyncpg

    from broker.publisher import Unavailable
    from broker.topology import TopologyError
    from deploy.config import ConfigError
    from deploy.process import Missing
    from storage.migrate import MigrationError

    known: tuple[type[Exception], ...] = (Failed, ConfigError, Missing, MigrationError, TopologyError, Unavailable)
    try:
        from deploy.local.children import StartError

        known += (StartError,)
    except ImportError:
        pass
    text = " ".join(str(error).split())
    if isinstance(error, known):
        return text
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.InvalidSchemaNameError):
        return "the database has no crossdock schema: run `crossdock migrate`"
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        return f"PostgreSQL says: {text}; check DATABASE_URL"
    if isinstance(error, OSError | TimeoutError):
        return f"{text or type(error).__name__}; is it running? `crossdock status` shows what is"
    return None


def endpoints(state: Path | None) -> dict[str, Any]:
    """What a running `up` says of itself; empty when there is none."""
    folder = state or Path(os.environ.get("CROSSDOCK_STATE") or ".crossdock")
    try:
        found: dict[str, Any] = orjson.loads((folder / "endpoints.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found


def database_url(state: Path | None) -> str:
    """DATABASE_URL, else the running `up`'s. Raises Failed."""
    return _url("DATABASE_URL", "postgres", state)


def amqp_url(state: Path | None) -> str:
    """AMQP_URL, else the running `up`'s. Raises Failed."""
    return _url("AMQP_URL", "amqp", state)


def _url(name: str, key: str, state: Path | None) -> str:
    found = os.environ.get(name) or endpoints(state).get(key)
    if not found:
        raise Failed(f"{name} is not set and no `crossdock up` runs here: set it, or give --state")
    return str(found)


def run(work: Coroutine[Any, Any, R]) -> R:
    """Runs one coroutine to its end."""
    return asyncio.run(work)


def print_json(value: Any) -> None:
    """Indented, with dates and UUIDs as text, bytes as text where they are some."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z, default=_plain).decode())


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], empty: str) -> None:
    """A table as wide as it needs; without a terminal, 100 columns."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    if not rows:
        console.print(empty)
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(table)
