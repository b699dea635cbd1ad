"""SQL lives in `queries/*.sql`, each query under a `-- name: x` line; here it is read."""

import re
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "queries"
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def queries(file: str) -> dict[str, str]:
    """The queries of `queries/<file>.sql` by name. Raises OSError for a file that isn't there."""
    pieces = _NAME.split((_FOLDER / f"{file}.sql").read_text(encoding="utf-8"))
    return {name: body.strip() for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}


def query(file: str, name: str) -> str:
    """One query's text. Raises KeyError for a name that isn't there."""
    return queries(file)[name]
