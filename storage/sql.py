"""Load the SQL queries from `queries/*.sql`, where each query follows a line `-- name: x`.

A line `-- ==== x ====` is a heading for readers, and belongs to no query.
"""

import re
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "queries"
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_HEADING = re.compile(r"^-- ==== .+ ====$", re.MULTILINE)


@cache
def queries(file: str) -> dict[str, str]:
    """Return the queries of `queries/<file>.sql` by name; raises OSError if the file does not exist."""
    pieces = _NAME.split(_HEADING.sub("", (_FOLDER / f"{file}.sql").read_text(encoding="utf-8")))
    return {name: body.strip() for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}


def query(file: str, name: str) -> str:
    """Return the text of one query; raises KeyError if there is no query with this name."""
    return queries(file)[name]
