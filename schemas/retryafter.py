"""`Retry-After` (RFC 9110 §10.2.3), as both who is called and who calls may send it. Pure."""

import email.utils
from datetime import UTC

DIGITS = 9
"""Of seconds that are looked at: thirty years are long enough."""


def seconds(header: str | None, now: float) -> float | None:
    """Seconds from `now` (Unix), of whole seconds or a date; below 0 for one that is past. None if it says nothing.

    A date without a zone is taken as UTC, which all of them should be in.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text.lstrip("0")[:DIGITS] or 0)
    try:
        date = email.utils.parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        return None
