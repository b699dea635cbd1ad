"""What commands print: JSON for programs, tables for people."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDTH = 100
"""Columns of the output if it is not a terminal."""

T = TypeVar("T")
Cell: TypeAlias = "str | int | float | Text | None"


def console() -> "Console":
    """Return a console as wide as the terminal, or WIDTH columns wide without one."""
    from rich.console import Console

    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if has_width else WIDTH, highlight=False, soft_wrap=False)


def print_json(value: object) -> None:
    """Print indented JSON, with times and UUIDs as text, and bytes as text where they are UTF-8."""
    import orjson

    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z, default=_encodable).decode()
    typer.echo(printable_json(text) if sys.stdout.isatty() else text)


def _encodable(value: object) -> object:
    import msgspec

    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def print_result(value: object, as_json: bool, *lines: str) -> None:
    """Print the result of a command as JSON, or else as lines of text."""
    if as_json:
        print_json(value)
    else:
        typer.echo("\n".join(lines))


def print_listing(
    rows: Sequence[T],
    as_json: bool,
    *,
    columns: Sequence[str],
    cells: "Callable[[T], Sequence[Cell]]",
    empty: str,
    right: Sequence[str] = (),
) -> None:
    """Print rows as JSON, or else as a table of their `cells`, or the line `empty` if there are none."""
    if as_json:
        print_json(rows)
    elif rows:
        print_table(columns, map(cells, rows), right=right)
    else:
        typer.echo(empty)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one field per line, without those that are None."""
    shown = {name: value for name, value in fields.items() if value is not None}
    rows = [(name, moment(value) if isinstance(value, datetime) else str(value)) for name, value in shown.items()]
    print_table(("", ""), rows)


def printable(text: str) -> str:
    """Return the text with everything that a terminal would obey written out: a sender may have chosen it.

    `isprintable` refuses control characters (C0 and C1), separators other than the space, and format characters, which
    include the bidirectional marks.
    """
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text
    )


def printable_json(text: str) -> str:
    """Return JSON of the same value that is safe to print: characters that a terminal would obey are `\\u` escapes."""
    return "".join(char if char.isprintable() or char in "\n\t" else json.dumps(char)[1:-1] for char in text)


def print_table(
    columns: Sequence[str], rows: "Iterable[Sequence[Cell]]", *, title: str = "", right: Sequence[str] = ()
) -> None:
    """Print plain columns. `right`: names of the columns that are aligned to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        show_header=any(columns),
        title=printable(title) or None,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in right else "left", header_style="dim")
    for row in rows:
        # Never as markup, because a sender may have chosen the text.
        table.add_row(
            *(cell if isinstance(cell, Text) else Text(printable("" if cell is None else str(cell))) for cell in row)
        )
    to = console()
    if to.is_terminal:
        to.print(table)
        return
    with to.capture() as written:
        to.print(table)
    typer.echo("\n".join(text.rstrip() for text in written.get().splitlines()))


def moment(value: datetime | None, *, fraction: bool = False) -> str:
    """Return a time in UTC, `2026-11-21 09:30:00`, with milliseconds on request."""
    if value is None:
        return ""
    text = value.astimezone(UTC).isoformat(" ", "milliseconds" if fraction else "seconds")
    return text.removesuffix("+00:00")
