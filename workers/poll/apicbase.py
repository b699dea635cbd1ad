"""Apicbase's API: where its purchase orders are listed, and which of them are published."""

from datetime import datetime, timedelta

import msgspec

from schemas import lenient
from schemas.platforms import apicbase
from schemas.platforms.apicbase import identity
from schemas.platforms.apicbase.config import Account, Poll
from workers.poll.source import OrderSummary, Source

PAGE_SIZE = 200
"""Number of orders per page."""
STATUS = "ORDERED"
OVERLAP = timedelta(days=3)
"""Time before the cursor that each poll requests again: two days, and one more because a filter by day excludes the day
that it names."""


def settings(account: Account) -> Poll | None:
    """Return how the account is polled; None if its orders only come as webhooks."""
    return account.poll


def filters(after: datetime) -> dict[str, str]:
    """Return the query string of the first page of orders after the day of `after`.

    It contains only a date, because filters by date and by time both accept one.
    """
    return {"status": STATUS, "ordered_on__gt": after.date().isoformat(), "page_size": str(PAGE_SIZE)}


class _Fields(msgspec.Struct, frozen=True):
    id: msgspec.Raw = msgspec.Raw(b"null")
    status: msgspec.Raw = msgspec.Raw(b"null")
    ordered_on: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Fields).decode


def summarize(raw: bytes) -> OrderSummary:
    """Return the values of one order; an item that is not an order has none."""
    try:
        fields = _decode(raw)
    except (ValueError, RecursionError):
        return OrderSummary()
    id_ = _text(fields.id)
    if lenient.reference(id_) is None:
        id_ = None  # orders without an id are not the same order
    return OrderSummary(id_, _text(fields.status), moment(_text(fields.ordered_on)))


def moment(text: str | None) -> datetime | None:
    """Return a time in UTC; None if it is not readable or not a plausible year.

    Apicbase documents neither format nor zone. An offset or `Z` is honoured; a time without either is taken as UTC, and
    the overlap covers any other zone.
    """
    time = lenient.utc_deadline(text)
    return time if time is not None and 2000 <= time.year < 3000 else None


def _text(raw: msgspec.Raw) -> str | None:
    """Return a JSON string or number as text; None for any other value."""
    try:
        value = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return None
    return None if isinstance(value, bool) or not isinstance(value, str | int | float) else str(value)


SOURCE = Source(
    platform=apicbase.PLATFORM.name,
    event=identity.EVENT,
    settings=settings,
    token_path="oauth/token/",  # noqa: S106 - a path
    scope="supplier",
    orders_path="api/v2/integrations/suppliers/purchase_orders/",
    filters=filters,
    overlap=OVERLAP,
    status=STATUS,
    summarize=summarize,
)
