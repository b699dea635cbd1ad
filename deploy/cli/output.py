"""What commands print: JSON for programs, tables for people."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDTH = 100
"""Columns where there is no terminal to ask."""


def console() -> "Console":
    """Return a console as wide as the terminal, or WIDTH columns wide without one."""
    from rich.console import Console

    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else WIDTH, highlight=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """Print indented JSON, with times and UUIDs as text, and bytes as text where they are UTF-8."""
    import orjson

    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z, default=_plain).decode()
    typer.echo(printable_json(text) if sys.stdout.isatty() else text)


def printable(text: str) -> str:
    """Return the text with everything that a terminal would obey written out: a sender may have chosen it.

    `isprintable` refuses control characters (C0 and C1), separators other than the space, and format characters, which
    include the bidirectional marks.
    """
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text
    )


def printable_json(text: str) -> str:
    """Return JSON of the same value that a terminal only shows: characters that it would obey are `\\u` escapes."""
    return "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1]


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence["str | int | float | Text | None"]],
    *,
    title: str = "",
    right: Sequence[str] = (),
) -> None:
    """Print plain columns. `right`: names of the columns that are aligned to the right."""
    from rich.table import Table
    from rich.text import Text

    made = Table(
        show_header=any(columns),
        title=printable(title) or None,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    for column in columns:
        made.add_column(column, overflow="fold", justify="right" if column in right else "left", header_style="dim")
    for row in rows:
        # Never as markup: what a sender chose may stand in it.
        made.add_row(
            *(cell if isinstance(cell, Text) else Text(printable("" if cell is None else str(cell))) for cell in row)
        )
    to = console()
    if to.is_terminal:
        to.print(made)
        return
    with to.capture() as written:
        to.print(made)
    typer.echo("\n".join(text.rstrip() for text in written.get().splitlines()))


def moment(value: datetime | None, *, fraction: bool = False) -> str:
    """Return a time in UTC, `2026-11-21 09:30:00`, with milliseconds on request."""
    if value is None:
        return ""
    text = value.astimezone(UTC).isoformat(" ", "milliseconds" if fraction else "seconds")
    return text.removesuffix("+00:00")
