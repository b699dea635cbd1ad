"""What becomes of one attempt, and what its answer asks for. Pure."""

from typing import Literal

import msgspec

from schemas import retryafter
from workers.deliver.schedule import LONGEST_WAIT

Outcome = Literal["delivered", "refused", "timeout", "connection", "tls", "blocked"]
"""As in `crossdock.delivery_attempts` (contract §7)."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt; a row of `delivery_attempts`."""

    outcome: Outcome
    status_code: int | None = None
    """Also there when the answer broke off after its status: that is no answer, but worth knowing."""
    duration_ms: float
    response: bytes = b""
    """The body's beginning, without the request's secrets; as it came, never decompressed."""
    error: str | None = None
    """For people; never any of the URL's query, nor a secret."""
    retry_after: float | None = None
    """Seconds from now that a 429 or 503 asked for, at most a day."""
    gone: bool = False
    """410: the subscription is to be disabled (contract §6)."""

    def __repr__(self) -> str:
        # Not the body: it is the subscriber's, and may say anything.
        return f"Answer({self.outcome}, {self.status_code}, {self.duration_ms:.1f} ms, {self.error})"


def retry_after(text: str | None, now: float) -> float | None:
    """Seconds from `now` (Unix) of a Retry-After header (RFC 9110 §10.2.3), at most a day; None if past or nonsense."""
    seconds = retryafter.seconds(text, now)
    return min(seconds, LONGEST_WAIT) if seconds is not None and seconds > 0 else None
