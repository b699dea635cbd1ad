"""UUIDs that are derived from content, so that every worker gives the same thing the same id.

Repeating a step therefore finds what it wrote, and publishes what it published, under the ids of the first time.
"""

import hashlib
from collections.abc import Sequence
from uuid import UUID

from asyncpg.pgproto import pgproto

FastUUID = pgproto.UUID
"""asyncpg's own subclass of UUID, which it reads and encodes: made in a sixth of the time, written in a tenth."""

DocumentKey = tuple[str, str, str, str]
"""Platform, account, event type and business key, which together identify a document."""


def uuid8(content: bytes) -> UUID:
    """Return a UUID of version 8 (RFC 9562: content of our own), the same for the same bytes."""
    value = bytearray(hashlib.blake2b(content, digest_size=16).digest())
    value[6] = value[6] & 0x0F | 0x80
    value[8] = value[8] & 0x3F | 0x80
    return FastUUID(bytes(value))


def version_id(document: DocumentKey, digest: bytes, occurrence: int) -> UUID:
    """Return the id of a version.

    It is derived from its document, its content, and the number of earlier versions with that content. It doesn't
    depend on the version's number, so a late post renumbers versions but changes no id.
    """
    text = "\0".join((*document, str(occurrence))).encode("utf-8", "surrogatepass")
    return uuid8(text + b"\0" + digest)


def delivery_id(subscription_id: UUID, event_id: UUID, message_id: UUID) -> UUID:
    """Return the id of the delivery of an event to a subscription, as caused by one message."""
    return uuid8(subscription_id.bytes + event_id.bytes + message_id.bytes)


def share_event_id(version_id: UUID, recipient: str, items: Sequence[str]) -> UUID:
    """Return the id of the event about a recipient's share of a document.

    It is the same whenever the same items of the same version go to the same recipient.
    """
    text = "\0".join((recipient, *items)).encode("utf-8", "surrogatepass")
    return uuid8(version_id.bytes + text)
