"""Where a list goes on: a time and an id, opaque to whoever carries it."""

import base64
import binascii
from datetime import datetime
from uuid import UUID

import msgspec

from ingress.api import values
from ingress.api.errors import invalid

LIMIT = 100
MOST = 500


def encode(at: datetime, id_: UUID) -> str:
    """Text for a URL."""
    return base64.urlsafe_b64encode(msgspec.json.encode((at, id_))).rstrip(b"=").decode()


def decode(text: str | None) -> tuple[datetime, UUID] | None:
    """The reverse; None of None. Raises ProblemError: 400."""
    if text is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
        at, id_ = msgspec.json.decode(raw, type=tuple[datetime, UUID])
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise invalid({"cursor": "is not one that a list gave"}) from None
    if at.tzinfo is None or values.wrong(at) is not None:
        raise invalid({"cursor": "is not one that a list gave"})
    return at, id_


def limit(text: str | None) -> int:
    """How many at a time. Raises ProblemError: 400."""
    if text is None:
        return LIMIT
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MOST):
        raise invalid({"limit": f"must be a whole number from 1 to {MOST}"})
    return int(text)
