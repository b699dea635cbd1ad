"""Which columns may hold personal data (`classification.toml`)."""

import tomllib
from functools import cache
from pathlib import Path
from types import MappingProxyType

import msgspec

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
