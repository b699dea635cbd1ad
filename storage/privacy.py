"""Which columns may hold personal data (`classification.toml`), and the SQL that erases them."""

import tomllib
from functools import cache
from pathlib import Path
from types import MappingProxyType

import msgspec

from storage.sql import query

ERASED = "erased"
"""Flag of a receipt or version whose content was erased."""

_FILE = Path(__file__).with_name("classification.toml")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The classification of one table's columns."""

    kept: tuple[str, ...]
    """Columns without personal data."""
    erased: dict[str, str] = {}
    """Columns with personal data, each with the SQL expression of the value that replaces it."""


@cache
def tables() -> MappingProxyType[str, Table]:
    """Return the classification of every table by name. Raises OSError and ValueError if the file is not valid."""
    return MappingProxyType(msgspec.convert(tomllib.loads(_FILE.read_text(encoding="utf-8")), dict[str, Table]))


def personal_columns() -> dict[str, tuple[str, ...]]:
    """Return the columns with personal data by table, without the tables that have none."""
    return {name: tuple(table.erased) for name, table in tables().items() if table.erased}


@cache
def erasing(name: str) -> str:
    """Return a query of `erasure.sql` in which `{table.personal}` and `{table.is_personal}` are filled in.

    The former becomes the assignments that erase a row's personal data, the latter the condition that the row still has
    any.
    """
    text = query("erasure", name)
    for table, classified in tables().items():
        values = classified.erased.items()
        assignments = ", ".join(f"{column} = {value}" for column, value in values)
        condition = " OR ".join(f"{column} IS DISTINCT FROM ({value})" for column, value in values)
        text = text.replace(f"{{{table}.personal}}", assignments)
        text = text.replace(f"{{{table}.is_personal}}", f"({condition})")
    return text
