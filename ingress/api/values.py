"""Values that no field of any request may hold, because PostgreSQL or the calendar cannot represent them."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from ingress.api.errors import invalid


def check(decoded: object) -> None:
    """Check every text and every time of a decoded body. Raises ProblemError that names each wrong field."""
    builtins: object = msgspec.to_builtins(decoded, builtin_types=(datetime,))
    errors = {path: problem for path, value in _leaves(builtins, "") if (problem := wrong(value)) is not None}
    if errors:
        raise invalid(errors)


def wrong(value: object) -> str | None:
    """Return what is wrong with one value, or None."""
    if isinstance(value, str):
        if "\0" in value:
            return "must not contain U+0000"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return "must be valid Unicode, without half of a surrogate pair"
    if isinstance(value, datetime):
        try:
            value.astimezone(UTC)
        except OverflowError:
            return "must lie in the years 1 to 9999 (UTC)"
    return None


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield the values that are neither objects nor lists, each with its path."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{n}]")
    else:
        yield path, value
