"""Places in lists: where the next page starts, as text for a URL. Rows are sorted by a time and an id."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Generic, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from ingress.console.errors import invalid
from schemas.values import value_problem

ROWS = 50
"""Maximum rows per page."""

T = TypeVar("T")
Place = tuple[datetime, UUID]


class Rows(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list."""

    rows: Sequence[T]
    after: str | None
    """Where the next page starts; None if this is the last one."""


class Query(msgspec.Struct, frozen=True):
    """The filters of a list as the query of its address, by the names of its parameters."""

    filters: Mapping[str, str | None]

    def __call__(self, **changes: str | None) -> str:
        """Return the query with these changes; None leaves a filter out."""
        return urlencode({name: value for name, value in {**self.filters, **changes}.items() if value})

    @property
    def is_empty(self) -> bool:
        """Whether nothing is filtered."""
        return not any(self.filters.values())


def place(text: str | None) -> Place | None:
    """Return the place that `after` in a URL stands for; None without one. Raises PageError: 400."""
    if not text:
        return None
    at, separator, id_ = text.partition("~")
    try:
        result = datetime.fromisoformat(at), UUID(id_)
    except ValueError:
        result = None
    if result is None or not separator or result[0].tzinfo is None or value_problem(result[0]) is not None:
        raise invalid("`after` in the address is not a place in this list: start the list anew.")
    return result


def numbered_place(text: str | None) -> tuple[datetime, int] | None:
    """Return the place in a list whose rows have numbers. Raises PageError: 400."""
    if not text:
        return None
    at, _, number = text.partition("~")
    try:
        result = datetime.fromisoformat(at), int(number)
    except ValueError:
        result = None
    if result is None or result[0].tzinfo is None or not -(2**63) <= result[1] < 2**63:
        raise invalid("`after` in the address is not a place in this list: start the list anew.")
    return result


def page(rows: Sequence[T], at: Callable[[T], tuple[datetime, UUID | int]], size: int = ROWS) -> Rows[T]:
    """Return the first `size` of the rows, of which one more was read, so that the last page is known."""
    if len(rows) <= size:
        return Rows(rows, None)
    when, id_ = at(rows[size - 1])
    return Rows(rows[:size], f"{when.isoformat()}~{id_}")
