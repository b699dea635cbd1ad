"""The result of one attempt, and what the server's response requests. Pure."""

from typing import Literal

import msgspec

from schemas import retryafter
from workers.deliver.schedule import LONGEST_WAIT

Outcome = Literal["delivered", "refused", "timeout", "connection", "tls", "blocked"]
"""The values of the column `outcome` of `crossdock.delivery_attempts` (contract §7)."""


class AttemptResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one attempt, as stored in a row of `delivery_attempts`."""

    outcome: Outcome
    status_code: int | None = None
    """Status of the response; also set for information if its head broke off, which counts as no response."""
    duration_ms: float
    response: bytes = b""
    """The beginning of the response body as received, never decompressed, with the request's secrets masked."""
    error: str | None = None
    """Explanation for people; it contains no secret and nothing of the URL's query."""
    retry_after: float | None = None
    """Seconds to wait, as requested by a 429 or 503 response; at most one day."""
    gone: bool = False
    """Whether the response was 410, so that the subscription is to be disabled (contract §6)."""

    def __repr__(self) -> str:
        # The body is left out because it comes from the subscriber and may contain anything.
        return f"AttemptResult({self.outcome}, {self.status_code}, {self.duration_ms:.1f} ms, {self.error})"


def retry_after(text: str | None, now: float) -> float | None:
    """Return the delay in seconds that a Retry-After header requests (RFC 9110 §10.2.3), at most one day.

    `now` is the current time in Unix seconds. The result is None if the time is not in the future, or if the header is
    missing or not valid.
    """
    seconds = retryafter.seconds(text, now)
    return min(seconds, LONGEST_WAIT) if seconds is not None and seconds > 0 else None
