"""Values that PostgreSQL or the calendar cannot represent: one rule for requests, commands and searches."""

from datetime import UTC, datetime


def value_problem(value: object) -> str | None:
    """Return what is wrong with one value, or None."""
    if isinstance(value, str):
        if "\0" in value:
            return "must not contain U+0000"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return "must be valid Unicode, without half of a surrogate pair"
    if isinstance(value, datetime):
        try:
            value.astimezone(UTC)
        except OverflowError:
            return "must lie in the years 1 to 9999 (UTC)"
    return None
