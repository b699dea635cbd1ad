"""Decodes one queued message, and decides what is written of it. Pure."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from schemas import allocation, documents, properties, registry
from schemas.allocation import ItemAllocation
from schemas.config import Config
from schemas.documents import Document
from schemas.envelope import ACCEPTED, RECORD_TYPE, Envelope, from_properties
from schemas.platform import Platform, UnreadableError
from workers.store.ids import FastUUID, uuid8

UNREADABLE, REFUSED, FAILED, UNROUTED = "unreadable", "refused", "failed", "unrouted"
"""Stages of the quarantine (contract §8)."""
REASON_LENGTH = 2000
_TEXT_LENGTH = 255
"""Maximum characters of a name in the properties of a message that is not ours."""


class NotOurMessageError(Exception):
    """Raised for a message that no process of ours published; it goes to quarantine under what can be read of it."""


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A message that was understood (`document`), or that was not (`reason`)."""

    envelope: Envelope
    message_id: UUID
    raw: bytes
    document: Document | None = None
    reason: str | None = None
    """Why it goes to quarantine."""
    allocations: Sequence[ItemAllocation] | None = None
    """Set if the message is the route worker's record of what it answered."""
    may_be_stored: bool = False
    """Whether it may have been stored by an earlier try, which may not have announced it."""
    stage: str = UNREADABLE
    """The stage of the quarantine that it goes to, if it does."""
    attempts: int = 0
    """The number of tries of its own that it had, if it failed."""
    routing_key: str | None = None
    """The message's routing key, if it can't be derived from its platform, account and event."""


def prepare(
    properties: bytes,
    body: bytes,
    config: Config,
    *,
    may_be_stored: bool = False,
) -> Incoming:
    """Return what is to be written of one message. Raises NotOurMessageError, and nothing else, for any input.

    `properties`: encoded. `may_be_stored`: whether an earlier try may have stored it without announcing it.
    """
    try:
        envelope = from_properties(properties)
        message_id = FastUUID(envelope.message_id)
        _check(envelope)
        raw, allocations = body, None
        if envelope.type == RECORD_TYPE:
            record = allocation.decode(body)
            raw, allocations = record.raw, record.allocations
    except ValueError as error:
        raise NotOurMessageError(f"not a message of ours: {error}") from None
    document, reason, stage = None, None, UNREADABLE
    platform = registry.platforms().get(envelope.platform)
    if platform is None:
        reason = f"unknown platform {envelope.platform!r}"
    else:
        try:
            document = documents.describe(platform, envelope.event, raw, envelope.content_type)
            reason = _refusal(platform, envelope, document.data or raw, config)
            stage = UNREADABLE if reason is None else REFUSED
        except UnreadableError as error:
            reason = str(error)
    if reason is not None:
        document, reason = None, _storable(reason)
    return Incoming(envelope, message_id, raw, document, reason, allocations, may_be_stored, stage)


def for_quarantine(
    encoded: bytes, body: bytes, stage: str, reason: str, now: datetime, *, attempts: int = 0, key: str | None = None
) -> Incoming:
    """Return a message for the quarantine without decoding its body, under what can be read of its properties.

    `now` is the time of receipt if the properties have none. `key`: the routing key, if it is known. Never raises.
    """
    try:
        envelope = from_properties(encoded)
        _check(envelope)
    except ValueError:
        envelope = _partial_envelope(encoded, now)
    message_id: UUID
    try:
        message_id = FastUUID(envelope.message_id)
    except ValueError:
        message_id = uuid8(encoded + body)
        envelope = msgspec.structs.replace(envelope, message_id=str(message_id))
    return Incoming(
        envelope,
        message_id,
        body,
        None,
        _storable(reason),
        stage=stage,
        attempts=attempts,
        routing_key=key and _storable(key),
    )


def _partial_envelope(encoded: bytes, now: datetime) -> Envelope:
    """Return as much of an envelope as the properties of a message that is not ours hold."""
    try:
        decoded = properties.read(encoded)
    except ValueError:
        return Envelope(message_id="", platform="", account="", event="", received_at=now)

    def text(name: str) -> str:
        value = decoded.headers.get(name)
        return _storable(value)[:_TEXT_LENGTH] if isinstance(value, str) else ""

    return Envelope(
        message_id=decoded.message_id or "",
        platform=text("platform"),
        account=text("account"),
        event=text("event"),
        received_at=now,
        content_type=decoded.content_type and _storable(decoded.content_type),
    )


def _check(envelope: Envelope) -> None:
    """Raise ValueError for properties that the database rejects, which no message of ours has."""
    if envelope.received_at.tzinfo is None:
        raise ValueError("received-at has no time zone")
    if not 1970 < envelope.received_at.year < 9000:
        raise ValueError("received-at is out of range")
    if not (
        _is_storable(envelope.platform)
        and _is_storable(envelope.account)
        and _is_storable(envelope.event)
        and _is_storable(envelope.content_type)
        and _is_storable(envelope.traceparent)
    ):
        raise ValueError("a property holds characters that can't be stored")


def _is_storable(text: object) -> bool:
    """Return whether a property is a text that `_storable` leaves as it is, or is missing."""
    if type(text) is not str:
        return text is None
    if text.isascii() and len(text) <= REASON_LENGTH:  # all but a few, in a third of the time
        return "\0" not in text
    return _storable(text) == text


def _storable(text: str) -> str:
    """Return a text that PostgreSQL stores: without U+0000 and lone surrogates, of bounded length."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:REASON_LENGTH]


def _refusal(platform: Platform, envelope: Envelope, raw: bytes, config: Config) -> str | None:
    """Return why an order is refused, or None.

    The verdict that its sender received decides. Only an order whose sender received none (it was polled, or replayed)
    is judged here.
    """
    if envelope.verdict is not None:
        return None if envelope.verdict == ACCEPTED else f"refused: {envelope.verdict}"
    settings = config.accounts.get(envelope.platform, {}).get(envelope.account)
    if platform.refuse is None or settings is None:
        return None
    reason = platform.refuse(envelope.event, raw, settings)
    return None if reason is None else f"refused: {reason}"
