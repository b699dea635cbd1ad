"""Exemplars (OpenMetrics 1.0) of histograms: they link a latency to its trace, and are rare enough to cost little."""

import time
from typing import Protocol

INTERVAL = 1.0
"""Seconds of an interval. Its first observation and each new maximum in it get an exemplar."""


class Observed(Protocol):
    """A child of a histogram, either of the client library or of `telemetry.tallies`."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None, /) -> None:
        """Add an observation, in the unit of the histogram."""


class Traced:
    """A child of a histogram whose observations may have exemplars.

    An exemplar adds half of what an observation costs. So only the first observation of a second gets one, and each
    that is slower than all before it in that second.
    """

    __slots__ = ("_histogram", "_slowest", "_until")

    def __init__(self, histogram: Observed) -> None:
        self._histogram = histogram
        self._slowest = 0.0
        self._until = 0.0

    def observe(self, seconds: float, traceparent: str | None) -> None:
        """Add an observation of `seconds`, without an exemplar if `traceparent` (a W3C trace context) is None."""
        now = time.monotonic()
        if traceparent is None or (seconds <= self._slowest and now < self._until):
            self._histogram.observe(seconds)
            return
        if now >= self._until:
            self._until = now + INTERVAL
        self._slowest = seconds
        self._histogram.observe(seconds, {"trace_id": trace_id(traceparent)})


def trace_id(traceparent: str) -> str:
    """Return the 32 hexadecimal digits of the trace in a W3C trace context; at most 32 characters of any other text."""
    return traceparent[3:35]
