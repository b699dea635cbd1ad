"""Parsing of the `Retry-After` header (RFC 9110 §10.2.3). Pure."""

import email.utils
from datetime import UTC

DIGITS = 9
"""Maximum digits of a number of seconds that are used: thirty years are long enough."""


def seconds(header: str | None, now: float) -> float | None:
    """Return the number of seconds from `now` (Unix time) that a header asks to wait; None if absent or invalid.

    The header is a number of seconds, where a fraction counts as one, or a date; the result is negative for a date
    in the past. A date without a time zone is taken as UTC, which the RFC requires.
    """
    text = (header or "").strip()
    whole, _, fraction = text.partition(".")  # RFC 9110 knows no fraction; rate limiters send them all the same
    if text.isascii() and whole.isdigit() and (not fraction or fraction.isdigit()):
        return float(whole.lstrip("0")[:DIGITS] or 0) + (1.0 if fraction.strip("0") else 0.0)
    try:
        date = email.utils.parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        return None
