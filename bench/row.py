"""One line of the table: ours and theirs, run by run, and what their ratios come to."""

import statistics
from typing import Literal

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One comparison. Runs stand in pairs: the n-th of ours and the n-th of theirs ran one after the other."""

    what: str
    """With its unit: a rate a second, milliseconds, a share, megabytes."""
    against: str
    ours: list[float]
    theirs: list[float]
    goal: float | None = None
    """What the project asks of itself; None where it only looks."""
    less: bool = False
    """Less is better: the ratio must stay at or below the goal."""
    digits: int = 0
    """Behind the decimal point, where it is shown."""
    failed: str | None = None
    """Why there are no figures."""
    note: str | None = None
    """What else must be known of them."""

    @property
    def ratios(self) -> list[float]:
        """Of each pair: a machine that slows down for a while slows both of it."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=False) if theirs]

    @property
    def ratio(self) -> float | None:
        """Median of the pairs' ratios; None when there is none."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def verdict(self) -> Literal["", "met", "missed", "failed"]:
        """What the ratio says of the goal; empty where there is no goal."""
        if self.failed is not None or self.ratio is None:
            return "failed"
        if self.goal is None:
            return ""
        return "met" if (self.ratio <= self.goal if self.less else self.ratio >= self.goal) else "missed"


def spread(values: list[float], digits: int) -> str:
    """`2,000 (1,000–3,000)`: the median, the lowest, the highest; a single one stands alone, none is empty."""
    if not values:
        return ""
    middle = f"{statistics.median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"
