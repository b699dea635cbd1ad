"""Whether everything that a handler needs is available, as shown by `/readyz`, the log and a metric."""

import logging
import time

from workers.runtime import metrics

log = logging.getLogger("crossdock.worker")

OUTAGE_OVER_AFTER = 30.0
"""Seconds without another failure after which a successful probe counts as the end of an outage.

A probe that succeeds while the handler continues to fail does not end it.
"""


class Availability:
    """The availability for the handler of one queue."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self.unavailable_attempts = 0
        """Consecutive attempts that failed because something was unavailable."""
        self.reason: str | None = None
        """Why the handler cannot work; None while it can."""
        self._unavailable_since: float | None = None
        self._probed_at: float | None = None
        """Monotonic time of the last successful probe; None if something failed after it."""
        metrics.HELD_UP.labels(queue).set_function(self.held_up)

    def held_up(self) -> float:
        """Return the seconds for which something has been unavailable; 0.0 while the handler works."""
        now, since = time.monotonic(), self._unavailable_since
        if since is None or (self._probed_at is not None and now - self._probed_at > OUTAGE_OVER_AFTER):
            return 0.0
        return now - since

    def failed(self, reason: str) -> None:
        """Record that an attempt or a probe failed because something was unavailable."""
        if self.held_up() == 0.0:
            self._unavailable_since = time.monotonic()
        self._probed_at = None
        if self.reason != reason or not self.unavailable_attempts % 10:
            log.warning("held up", extra={"queue": self._queue, "reason": reason})
        self.unavailable_attempts += 1
        self.reason = reason

    def probed(self) -> None:
        """Record that a probe succeeded."""
        self.reason, self._probed_at = None, time.monotonic()

    def worked(self) -> None:
        """Record that the handler handled a batch."""
        self.unavailable_attempts = 0
        self._unavailable_since = self.reason = None
