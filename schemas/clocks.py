"""Clocks that differ: the time of receipt of a document if the ingress's clock is ahead of the database's.

The copy that was received later is newer. An ingress whose clock is a day ahead would make all other copies of its
documents older for a day, so a time that is too far ahead is replaced by the present, and the document is flagged.
"""

from datetime import datetime, timedelta

MAX_AHEAD = 60.0
"""Seconds that a message's `received-at` may be ahead of the database's clock. NTP keeps machines within
milliseconds; a minute also covers one that is being set right."""
CLOCK_AHEAD = "clock_ahead"
"""The flag of a document whose moment was replaced."""

_MAX_AHEAD = timedelta(seconds=MAX_AHEAD)


def is_ahead(received_at: datetime, present: datetime) -> bool:
    """Return whether a time of receipt is more than MAX_AHEAD ahead of `present`, the time by the database's clock."""
    return received_at - present > _MAX_AHEAD
