"""The values of an XML-turned-JSON document as they are meant: text, an object or none, a list however it came."""

from typing import TypeVar

import msgspec
from msgspec import UnsetType

from schemas import lenient
from schemas.lenient import Scalar

T = TypeVar("T", bound=msgspec.Struct)


def text(value: Scalar) -> str | None:
    """As `lenient.text`; a boolean is the text that uStore writes for it (`"Downloadable": "false"`)."""
    value = lenient.unwrapped(value)
    if value is True or value is False:
        return "true" if value else "false"
    return lenient.text(value)


def identifier(value: Scalar) -> str | None:
    """As `lenient.identifier`: what recognises something, without blanks at its ends."""
    return lenient.identifier(value)


def part(value: T | str | UnsetType | None) -> T | None:
    """The object, or None where there is none."""
    return value if isinstance(value, msgspec.Struct) else None


def each(value: list[T | None] | T | str | UnsetType | None) -> list[T]:
    """The elements, whether they came as a list, as a single object or not at all."""
    if isinstance(value, list):
        return [element for element in value if element is not None]
    return [value] if isinstance(value, msgspec.Struct) else []
