"""Which trace stands behind a latency: exemplars (OpenMetrics 1.0) on histograms, few enough to cost little."""

import time
from typing import Protocol

INTERVAL = 1.0
"""Seconds. In each, the first observation and every one slower than those before it get an exemplar."""


class Observed(Protocol):
    """A child of a histogram: the client library's, or one of `telemetry.tallies`."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None, /) -> None:
        """One more."""


class Traced:
    """One child of a histogram. An exemplar costs half as much again as the observation: only those that tell something
    are made, and the slowest of a second always is one of them."""

    __slots__ = ("_histogram", "_slowest", "_until")

    def __init__(self, histogram: Observed) -> None:
        self._histogram = histogram
        self._slowest = 0.0
        self._until = 0.0

    def observe(self, seconds: float, traceparent: str | None) -> None:
        """`traceparent`: the W3C trace context of what took so long; None observes without an exemplar."""
        now = time.monotonic()
        if traceparent is None or (seconds <= self._slowest and now < self._until):
            self._histogram.observe(seconds)
            return
        if now >= self._until:
            self._until = now + INTERVAL
        self._slowest = seconds
        self._histogram.observe(seconds, {"trace_id": trace_id(traceparent)})


def trace_id(traceparent: str) -> str:
    """32 hexadecimal digits of a W3C trace context; at most that many characters of anything else."""
    return traceparent[3:35]
