"""What a delivery sends: the headers of its dialect, without anything that is made with a secret."""

import time
from collections.abc import Sequence

import msgspec

from schemas.dialects import get_dialect
from schemas.outbound import Credentials, Event, UntranslatableError
from storage.delivery_lists import Content, ListedDelivery

HIDDEN = "(made with the subscription's secret, and not shown)"
"""Stands for the value of a header that depends on a secret."""
_CREDENTIALS = tuple(
    Credentials(secrets=(secret,), authorization=text, query_key="key")
    for secret, text in (("whsec_" + "A" * 32, "a"), ("whsec_" + "B" * 32, "b"))
)
"""Two of them: a header that differs between them depends on a secret."""


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """The request of a delivery."""

    size: int | None
    """Bytes of the stored body that it is made from; None if that is no longer stored."""
    headers: Sequence[tuple[str, str]] = ()
    problem: str | None = None
    """Why no headers are shown."""
    has_query: bool = False
    """Whether the dialect adds a secret to the URL."""
    sends_newest: bool = False
    """Whether each attempt sends the newest version of the document."""


def describe_request(delivery: ListedDelivery, dialect_name: str | None, content: Content | None) -> RequestView:
    """Return the request as the next attempt would make it, with every secret left out."""
    size = None if content is None else content.size
    if dialect_name is None:
        return RequestView(size=size, problem="The subscription was deleted, and its settings with it.")
    if content is None or size is None or delivery.document is None:
        return RequestView(size=size, problem="The event is older than what is kept.")
    if "erased" in content.flags:
        return RequestView(size=size, problem="The content was erased.")
    if content.raw is None:
        return RequestView(size=size, problem="The body is too large to be looked at here.")
    event = Event(
        id=str(delivery.row["event_id"]),
        platform=delivery.document.platform,
        account=delivery.document.account,
        type=delivery.row["type"],
        key=delivery.row["key"],
        version=delivery.row["version"],
        received_at=content.received_at,
        raw=content.raw,
        # What was repaired is not read again here, because headers do not depend on it.
        data=b"{}" if content.flags else content.raw,
    )
    now = int(time.time())
    try:
        dialect = get_dialect(dialect_name)
        first, second = (dialect.request(event, credentials, now) for credentials in _CREDENTIALS)
    except (UntranslatableError, LookupError) as error:
        return RequestView(size=size, problem=f"It cannot be expressed in dialect {dialect_name}: {error}.")
    headers = [(name, value if second.headers.get(name) == value else HIDDEN) for name, value in first.headers.items()]
    return RequestView(size=size, headers=headers, has_query=bool(first.query), sends_newest=dialect.newest)
