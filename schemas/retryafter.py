"""Parsing of the `Retry-After` header (RFC 9110 §10.2.3). Pure."""

import email.utils
import math
import re
from datetime import UTC, datetime

from schemas import times

DIGITS = 9
"""Maximum digits of a number of seconds that are used: thirty years are long enough.

A longer number is a point in time, in seconds, milliseconds, microseconds or nanoseconds since 1970, if it has as many
digits as those have.
"""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(
    r"(\d{1,9}(?:\.\d{1,9})?) ?(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z]) ?",
    re.IGNORECASE | re.ASCII,
)
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+", re.ASCII)


def seconds(header: str | None, now: float) -> float | None:
    """Return the number of seconds from `now` (Unix time) that a header asks to wait; None if absent or invalid.

    The header is a number of seconds, where a fraction counts as one, or a date; the result is negative for a date
    in the past. A date without a time zone is taken as UTC, which the RFC requires. Unix times, ISO dates, and numbers
    with a unit, which the RFC does not know, are read as well; of several values, the longest wait counts.
    """
    text = (header or "").strip().strip('"')
    single = _single(text, now)
    if single is not None or "," not in text or _GROUPED.fullmatch(text):
        return single
    return max((value for part in text.split(",") if (value := _single(part.strip(), now)) is not None), default=None)


def _single(text: str, now: float) -> float | None:
    whole, _, fraction = text.partition(".")  # RFC 9110 knows no fraction; rate limiters send them all the same
    if text.isascii() and whole.isdigit() and (not fraction or fraction.isdigit()):
        whole = whole.lstrip("0")
        if len(whole) > DIGITS:
            moment = times.parse(f"{whole}.{fraction}" if fraction.strip("0") else whole)
            if moment is not None:
                return _until(moment, now)
        return float(whole[:DIGITS] or 0) + (1.0 if fraction.strip("0") else 0.0)
    span = _span(text)
    if span is not None:
        return span
    moment = times.parse(text)  # before the library, which takes the year 0049 for 2049
    if moment is not None:
        return _until(moment, now)
    try:
        return _until(email.utils.parsedate_to_datetime(text), now)
    except (ValueError, OverflowError):
        return None


def _until(moment: datetime, now: float) -> float | None:
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    except OverflowError:
        return None


def _span(text: str) -> float | None:
    """Return a number of seconds that is written with its units, as in `3s`, `1m30s` or `PT3S`, rounded up."""
    position, total = 2 if text[:2].upper() == "PT" else 0, 0.0
    if position == len(text):
        return None
    while position < len(text):
        part = _SPAN.match(text, position)
        if part is None:
            return None
        unit = part[2].lower()
        total += float(part[1]) * _UNITS["ms" if unit.startswith(("ms", "milli")) else unit[0]]
        position = part.end()
    return float(math.ceil(total))
