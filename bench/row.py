"""One row of the table: the results of ours and theirs, run by run, and their ratios."""

import statistics
from typing import Literal, Self

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One comparison. Runs are paired: the n-th of ours and the n-th of theirs ran one after the other."""

    what: str
    """The measured quantity with its unit: per second, milliseconds, a share, megabytes."""
    against: str
    ours: list[float]
    theirs: list[float]
    goal: float | None = None
    """The project's goal for the ratio; None if there is none."""
    less: bool = False
    """Whether less is better: then the ratio must not exceed the goal."""
    digits: int = 0
    """Number of decimals that are shown."""
    failed: str | None = None
    """Why there are no figures."""
    note: str | None = None
    """A remark on the figures."""

    @property
    def ratios(self) -> list[float]:
        """Ratio of each pair, because a machine that slows down for a while affects both runs of it."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=False) if theirs]

    @property
    def ratio(self) -> float | None:
        """Median of the pairs' ratios; None if there are no pairs."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def verdict(self) -> Literal["", "met", "missed", "failed"]:
        """Whether the goal is met; empty if there is no goal."""
        if self.failed is not None or self.ratio is None:
            return "failed"
        if self.goal is None:
            return ""
        return "met" if (self.ratio <= self.goal if self.less else self.ratio >= self.goal) else "missed"


def spread(values: list[float], digits: int) -> str:
    """Return median, lowest and highest as `2,000 (1,000–3,000)`; a single value alone, and nothing without values."""
    if not values:
        return ""
    middle = f"{statistics.median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


class Times(msgspec.Struct, frozen=True):
    """Latencies of requests in milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, times: list[float]) -> Self:
        """Return the quantiles of some times. Raises StatisticsError for fewer than two."""
        cuts = statistics.quantiles(times, n=100)
        return cls(cuts[49], cuts[98])
