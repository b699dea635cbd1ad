"""Latencies, summed up."""

import statistics
from typing import Self

import msgspec


class Times(msgspec.Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, times: list[float]) -> Self:
        """Raises StatisticsError for fewer than two."""
        cuts = statistics.quantiles(times, n=100)
        return cls(cuts[49], cuts[98])
