"""Pages of a list: a cursor is a time and an id, opaque to clients."""

import base64
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from ingress.api.errors import invalid
from schemas.values import value_problem
from storage.subscriptions import Subscription

LIMIT = 100
"""Rows per page by default."""
MOST = 500
"""Maximum rows per page."""

Place = tuple[datetime, UUID]
T = TypeVar("T")


def encode(at: datetime, id_: UUID) -> str:
    """Return the cursor as text for a URL."""
    return base64.urlsafe_b64encode(msgspec.json.encode((at, id_))).rstrip(b"=").decode()


def decode(text: str | None) -> Place | None:
    """Return the place that a cursor stands for, or None without one. Raises ProblemError: 400."""
    if text is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
        place: Place | None = msgspec.json.decode(raw, type=Place)
    except (ValueError, msgspec.DecodeError):
        place = None
    if place is None or place[0].tzinfo is None or value_problem(place[0]) is not None:
        raise invalid({"cursor": "is not a cursor that a list returned"})
    return place


def limit(text: str | None) -> int:
    """Return the number of rows per page. Raises ProblemError: 400."""
    if text is None:
        return LIMIT
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MOST):
        raise invalid({"limit": f"must be a whole number from 1 to {MOST}"})
    return int(text)


def page(rows: Sequence[T], size: int, place: Callable[[T], Place]) -> tuple[Sequence[T], str | None]:
    """Return the first `size` rows, and the cursor of the next page if there are more rows than that."""
    if len(rows) <= size:
        return rows, None
    return rows[:size], encode(*place(rows[size - 1]))


def subscription_place(row: Subscription) -> Place:
    """Return the place of a subscription in a list, for `page`."""
    assert row.created_at is not None
    return row.created_at, row.id
