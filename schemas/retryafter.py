"""`Retry-After` (RFC 9110 §10.2.3), as both who is called and who calls may send it. Pure."""

import email.utils
from datetime import UTC

DIGITS = 9
"""Of seconds that are looked at: thirty years are long enough."""


def seconds(header: str | None, now: float) -> float | None:
    """Return the seconds from `now` (Unix) until the time that the header names; negative for a past date.

    It names seconds, of which a fraction counts as a whole one, or a date. None if it is neither. A date without a zone
    is taken as UTC, which all of them should be in.
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
