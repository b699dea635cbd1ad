"""Checks a request for values that no field may hold, because PostgreSQL or the calendar cannot represent them."""

from collections.abc import Iterator, Mapping

import msgspec

from ingress.api.errors import invalid
from schemas.values import value_problem


def check(decoded: object) -> None:
    """Check every text and every time of a decoded body. Raises ProblemError that names each wrong field."""
    errors = {path: problem for path, value in _leaves(decoded, "") if (problem := value_problem(value)) is not None}
    if errors:
        raise invalid(errors)


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield the values that are neither objects nor lists, each with its path."""
    if isinstance(value, msgspec.Struct):
        for field, name in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            yield from _leaves(getattr(value, field), f"{path}.{name}" if path else name)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{n}]")
    else:
        yield path, value
