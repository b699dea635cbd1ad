"""The meaning of values in JSON that was converted from XML: a text, an optional object, or a list in any form."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

import msgspec
from msgspec import UnsetType

from schemas import lenient
from schemas.lenient import Scalar
from schemas.platforms.ustore.config import Values

T = TypeVar("T", bound=msgspec.Struct)


def text(value: Scalar) -> str | None:
    """Interpret a value as `lenient.text` does; a boolean becomes uStore's text for it (`"Downloadable": "false"`)."""
    value = lenient.unwrapped(value)
    if value is True or value is False:
        return "true" if value else "false"
    return lenient.text(value)


def name(value: Scalar) -> str | None:
    """Interpret a value as `text` does, without controls at its ends."""
    return lenient.name(text(value))


def identifier(value: Scalar) -> str | None:
    """Interpret a value as `lenient.identifier` does: without surrounding white space."""
    return lenient.identifier(value)


def part(value: lenient.Part[T]) -> T | None:
    """Return the object, or None if a text or a list stands for it or it is absent."""
    return value if isinstance(value, msgspec.Struct) else None


def each(value: list[T | str | None] | T | str | UnsetType | None) -> list[T]:
    """Return the elements, whether they were sent as a list, as a single object or not at all."""
    if isinstance(value, list):
        return [element for element in value if isinstance(element, msgspec.Struct)]
    return [value] if isinstance(value, msgspec.Struct) else []


def texts(values: Values) -> Sequence[str]:
    """Return a value, or the values of a list, as uStore would write them: everything is text there."""
    listed = values if isinstance(values, list) else [values]
    return [value if isinstance(value, str) else _written(value) for value in listed]


def _written(value: float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{Decimal(str(value)).normalize():f}"
