"""decode -> decide: one queued message, as what shall be written of it. Pure."""

from collections.abc import Container, Sequence
from uuid import UUID

import msgspec

from schemas import documents, envelope, registry
from schemas.config import Config
from schemas.documents import Document
from schemas.envelope import Envelope
from schemas.platform import Platform, Unreadable
from schemas.platforms.ustore import record
from schemas.platforms.ustore.record import ItemAllocation
from workers.store.versions import FastUUID


class Foreign(Exception):
    """Not a message of ours: there is nothing to file it under."""


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


def prepare(
    properties: bytes, body: bytes, config: Config, *, again: bool = False, held: Container[str] = ()
) -> Incoming:
    """What is to be written of one message. Raises Foreign, and nothing else, whatever came.

    `properties`: encoded. `held`: ids of messages that may have been stored before.
    """
    try:
        about = envelope.from_properties(properties)
        name = FastUUID(about.message_id)
        if about.received_at.tzinfo is None:
            raise ValueError("received-at has no zone")
        raw, allocations = body, None
        if about.type == envelope.RECORD_TYPE:
            note = record.decode(body)
            raw, allocations = note.raw, note.allocations
    except ValueError as error:
        raise Foreign(f"not a message of ours: {error}") from None
    document, reason = None, None
    platform = registry.platforms().get(about.platform)
    if platform is None:
        reason = f"unknown platform {about.platform!r}"
    else:
        try:
            document = documents.describe(platform, about.event, raw, about.content_type)
            reason = None if platform.refuse is None else _refusal(platform, about, document.data or raw, config)
        except Unreadable as error:
            reason = str(error)
    if reason is not None:
        document, reason = None, reason.replace("\0", "\ufffd")[:2000]
    return Incoming(about, name, raw, document, reason, allocations, again or about.message_id in held)


def _refusal(platform: Platform, about: Envelope, raw: bytes, config: Config) -> str | None:
    """The platform's own reason not to take an order; the sender was told where it still listened."""
    settings = config.accounts.get(about.platform, {}).get(about.account)
    if platform.refuse is None or settings is None:
        return None
    why = platform.refuse(about.event, raw, settings)
    return None if why is None else f"refused: {why}"
