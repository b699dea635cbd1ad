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
    """Return whether a moment is further ahead of the present than clocks that are set right differ. Both aware."""
    return received_at - present > _MAX_AHEAD


def filing_moment(received_at: datetime, present: datetime) -> tuple[datetime, str | None]:
    """Return the moment to file a message under, and a flag for its document, or None.

    `present`: by the database's clock. The present differs each time that a message is delivered: whoever files a
    message under another moment than its own must remember which (`workers.store.moments`), or the same message
    delivered twice would be filed twice.
    """
    return (present, CLOCK_AHEAD) if is_ahead(received_at, present) else (received_at, None)
