"""Outbound webhooks, and the interface of a dialect, the format that one kind of receiver expects (contract §6)."""

from collections.abc import Callable, Collection
from datetime import datetime

import msgspec

from schemas import jsontext
from schemas.config import Config
from schemas.platform import UnreadableError

OPERATOR = ""
"""Subscriber name of subscriptions that the operator registered; they may cover every account."""


def allowed_accounts(subscriber: str, config: Config) -> list[str]:
    """Return the patterns of the accounts that a subscriber may see now; none if it is not configured any more."""
    if subscriber == OPERATOR:
        return ["*"]
    settings = config.subscribers.get(subscriber)
    return list(settings.accounts) if settings else []


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A stored event, with every field that a dialect needs."""

    id: str
    """The CloudEvent's `id`: the same for every attempt and every subscriber."""
    platform: str
    account: str
    type: str
    key: str
    version: int
    received_at: datetime
    """Time of receipt, timezone-aware, in UTC."""
    traceparent: str | None = None
    raw: bytes
    """The body exactly as received."""
    data: bytes | None
    """The body as interoperable JSON, as received or repaired; None if it is not JSON."""
    dataref: str | None = None
    """Where the whole event can be read, if its data are not to be sent."""

    def as_received(self) -> bytes:
        """Return the body as received, in valid Unicode, because strict receivers reject anything else every time."""
        if jsontext.is_plain(self.raw):
            return self.raw
        return jsontext.valid_unicode(jsontext.mend_bytes(self.raw)) if self.data is None else self.data


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription's decrypted secrets, which `repr` omits so that they are never logged."""

    secrets: tuple[str, ...] = ()
    """Signing secrets, newest first.

    For 24 hours after a rotation there is a second one, which also signs if the dialect supports two signatures.
    """
    authorization: str | None = None
    query_key: str | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The HTTP request to send. `query` is added to the subscription's URL and is as confidential as that URL."""

    body: bytes
    headers: dict[str, str]
    query: tuple[tuple[str, str], ...] = ()


class UntranslatableError(UnreadableError):
    """Raised if an event can never be expressed in a dialect; the text gives the reason."""


def secret_problem(secret: str) -> str | None:
    """Return what is wrong with a subscriber's own secret, or None."""
    if secret != secret.strip():
        return "must not begin or end with a blank or a line break"
    if not secret.isprintable():
        return "must not contain line breaks, or other characters that cannot be seen"
    return None


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """The request format of one kind of receiver. Every module in `schemas.dialects` exports one as `DIALECT`."""

    name: str
    types: Collection[str] | None
    """Event types that it supports; None for every type."""
    request: Callable[[Event, Credentials, int], Request]
    """(event, credentials, Unix time of this attempt in seconds) -> the request. Raises UntranslatableError."""
    success: range = range(200, 300)
    """HTTP statuses that count as delivered."""
    newest: bool = False
    """Whether each attempt sends the newest version of the document, which supersedes pending older ones."""
    forever: bool = False
    """Whether attempts are repeated every `channelape_interval` seconds until success or cancellation by a person.

    Otherwise they follow the retry schedule.
    """
    make_secret: Callable[[], str] | None = None
    """Generates a secret, if the dialect uses one and the subscriber did not supply its own."""
    check_secret: Callable[[str], str | None] = secret_problem
    """(subscriber's own secret) -> what is wrong with it, for the subscriber; None if it is acceptable."""
    two_secrets: bool = False
    """Whether a request carries the signatures of two secrets, so that the old one stays valid after a rotation."""
    uses_authorization: bool = False
    uses_query_key: bool = False
    can_be_thin: bool = False
    """Whether it can refer to an event's data instead of sending them (`Event.dataref`)."""

    def supports(self, type_: str) -> bool:
        """Return whether an event of this type can be sent in this dialect."""
        return self.types is None or type_ in self.types
