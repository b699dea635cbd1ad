"""decode -> decide: one queued message, as what shall be written of it. Pure."""

from collections.abc import Container, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from schemas import documents, envelope, properties, registry
from schemas.config import Config
from schemas.documents import Document
from schemas.envelope import Envelope
from schemas.platform import Platform, UnreadableError
from schemas.platforms.ustore import record
from schemas.platforms.ustore.record import ItemAllocation
from workers.store.versions import FastUUID, uuid8

UNREADABLE, REFUSED, FAILED, UNROUTED = "unreadable", "refused", "failed", "unrouted"
"""Stages of the quarantine (contract §8)."""
REASON_LENGTH = 2000
_TEXT_LENGTH = 255
"""Characters of a name that a message of somebody else's may have."""


class NotOurMessageError(Exception):
    """Not a message of ours: it goes to quarantine under what can be read of it."""


class Incoming(msgspec.Struct, frozen=True):
    """A message, understood (`document`) or not (`reason`)."""

    envelope: Envelope
    message_id: UUID
    raw: bytes
    document: Document | None = None
    reason: str | None = None
    """Why it goes to quarantine."""
    allocations: Sequence[ItemAllocation] | None = None
    """Set on the route worker's note."""
    again: bool = False
    """It was here before: what it stood for may have been stored and not announced."""
    stage: str = UNREADABLE
    """Where it came to a halt, if it did."""
    attempts: int = 0
    """Tries of its own that it had, if it failed."""
    routing_key: str | None = None
    """Where it was to go, if that can't be told from its platform, account and event."""


def prepare(
    properties: bytes, body: bytes, config: Config, *, again: bool = False, held: Container[str] = ()
) -> Incoming:
    """What is to be written of one message. Raises NotOurMessageError, and nothing else, whatever came.

    `properties`: encoded. `held`: ids of messages that may have been stored before.
    """
    try:
        about = envelope.from_properties(properties)
        name = FastUUID(about.message_id)
        _check(about)
        raw, allocations = body, None
        if about.type == envelope.RECORD_TYPE:
            note = record.decode(body)
            raw, allocations = note.raw, note.allocations
    except ValueError as error:
        raise NotOurMessageError(f"not a message of ours: {error}") from None
    document, reason, stage = None, None, UNREADABLE
    platform = registry.platforms().get(about.platform)
    if platform is None:
        reason = f"unknown platform {about.platform!r}"
    else:
        try:
            document = documents.describe(platform, about.event, raw, about.content_type)
            reason = _refusal(platform, about, document.data or raw, config)
            stage = UNREADABLE if reason is None else REFUSED
        except UnreadableError as error:
            reason = str(error)
    if reason is not None:
        document, reason = None, _storable(reason)
    return Incoming(about, name, raw, document, reason, allocations, again or about.message_id in held, stage)


def halted(
    encoded: bytes, body: bytes, stage: str, reason: str, now: datetime, *, attempts: int = 0, key: str | None = None
) -> Incoming:
    """Return a message for the quarantine without decoding its body, under what can be read of its properties.

    `now`: when it came, where it doesn't say so itself. `key`: the routing key, where it is known. Never raises.
    """
    try:
        about = envelope.from_properties(encoded)
        _check(about)
    except ValueError:
        about = _envelope(encoded, now)
    name: UUID
    try:
        name = FastUUID(about.message_id)
    except ValueError:
        name = uuid8(encoded + body)
        about = msgspec.structs.replace(about, message_id=str(name))
    return Incoming(
        about, name, body, None, _storable(reason), stage=stage, attempts=attempts, routing_key=key and _storable(key)
    )


def _envelope(encoded: bytes, now: datetime) -> Envelope:
    """Return as much of an envelope as somebody else's message has."""
    try:
        found = properties.read(encoded)
    except ValueError:
        return Envelope(message_id="", platform="", account="", event="", received_at=now)

    def text(name: str) -> str:
        value = found.headers.get(name)
        return _storable(value)[:_TEXT_LENGTH] if isinstance(value, str) else ""

    return Envelope(
        message_id=found.message_id or "",
        platform=text("platform"),
        account=text("account"),
        event=text("event"),
        received_at=now,
        content_type=found.content_type and _storable(found.content_type),
    )


def _check(about: Envelope) -> None:
    """Raises ValueError for properties that the database doesn't take: none of ours has such."""
    if about.received_at.tzinfo is None:
        raise ValueError("received-at has no zone")
    if not 1970 < about.received_at.year < 9000:
        raise ValueError("received-at is not a moment of this world")
    for text in (about.platform, about.account, about.event, about.content_type, about.traceparent):
        if text is not None and (not isinstance(text, str) or _storable(text) != text):
            raise ValueError("a property holds what can't be stored")


def _storable(text: str) -> str:
    """Return a text that PostgreSQL stores: without U+0000 and lone surrogates, of bounded length."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:REASON_LENGTH]


def _refusal(platform: Platform, about: Envelope, raw: bytes, config: Config) -> str | None:
    """Return why an order is not taken, or None.

    What its sender was told decides; only what nobody was answered for (polled, or replayed) is judged here.
    """
    if about.verdict is not None:
        return None if about.verdict == envelope.ACCEPTED else f"refused: {about.verdict}"
    settings = config.accounts.get(about.platform, {}).get(about.account)
    if platform.refuse is None or settings is None:
        return None
    why = platform.refuse(about.event, raw, settings)
    return None if why is None else f"refused: {why}"
