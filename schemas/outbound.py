"""What leaves as a webhook, and the shape of a dialect: how one kind of receiver wants it (contract §6). Pure."""

from collections.abc import Callable, Collection
from datetime import datetime

import msgspec

from schemas import jsontext
from schemas.platform import Unreadable

OPERATOR = ""
"""Subscriber of what the operator registered: it sees every account."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A stored event, as much of it as any dialect needs."""

    id: str
    """The CloudEvent's: the same whenever and to whomever it is sent."""
    platform: str
    account: str
    type: str
    key: str
    version: int
    received_at: datetime
    """Aware, UTC."""
    traceparent: str | None = None
    raw: bytes
    """The body exactly as received."""
    data: bytes | None
    """The body as JSON that others can read, as received or repaired; None where it is no JSON."""

    def as_received(self) -> bytes:
        """Return the body as received, in valid Unicode: strict receivers refuse anything else again and again."""
        if jsontext.is_plain(self.raw):
            return self.raw
        return jsontext.valid_unicode(jsontext.mend_bytes(self.raw)) if self.data is None else self.data


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription's secrets, decrypted. Never logged: `repr` shows none."""

    secrets: tuple[str, ...] = ()
    """Newest first. A second one is there for 24 hours after a rotation, and signs too where a dialect can say both."""
    authorization: str | None = None
    query_key: str | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is posted. `query` is added to the subscription's URL and is as secret as it."""

    body: bytes
    headers: dict[str, str]
    query: tuple[tuple[str, str], ...] = ()


class Untranslatable(Unreadable):
    """This event can't be said in this dialect, now or later; the text says why."""


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of receiver. A module in `schemas.dialects` that exports `DIALECT` is found by itself."""

    name: str
    types: Collection[str] | None
    """Event types it can say; None for every type."""
    request: Callable[[Event, Credentials, int], Request]
    """Event, credentials, Unix seconds of this attempt. Raises Untranslatable."""
    success: range = range(200, 300)
    """HTTP statuses that mean delivered."""
    newest: bool = False
    """Sends the newest copy of the document at each attempt; a newer version replaces one that waits."""
    forever: bool = False
    """Retried at `channelape_interval` until success or until a person cancels, rather than by the schedule."""
    make_secret: Callable[[], str] | None = None
    """A new secret, where the dialect uses one and its subscriber brought none."""
    check_secret: Callable[[str], str | None] = lambda secret: None
    """What is wrong with a subscriber's own secret, to be shown to it; None if nothing is."""
    two_secrets: bool = False
    """Says the signatures of two secrets at once, so that the old one goes on counting after a rotation."""
    uses_authorization: bool = False
    uses_query_key: bool = False

    def says(self, type_: str) -> bool:
        """Whether an event of this type can be sent in this dialect."""
        return self.types is None or type_ in self.types
