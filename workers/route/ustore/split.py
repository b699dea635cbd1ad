"""Shares of items among manufacturers, by weight: an item always gets the same manufacturer, in every process.

The item's id is hashed to a point between 0 and 1; the weights, in the order written, cut that line into pieces.
Nothing is counted, so nothing needs to be remembered or shared.
"""

from collections.abc import Mapping
from hashlib import blake2b
from itertools import accumulate

_WHOLE = 1 << 64


class Shares:
    """The weights of one rule, compiled."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Compile the weights, of which at least one must be above 0; a weight of 0 gets no items."""
        cut = [(name, weight) for name, weight in weights.items() if weight > 0]
        self._total = sum(weight for _, weight in cut)
        self._ends = list(zip((name for name, _ in cut), accumulate(weight for _, weight in cut), strict=True))
        starts = [0.0, *(end for _, end in self._ends)]
        self.percent = {
            name: 100 * (end - start) / self._total for (name, end), start in zip(self._ends, starts, strict=False)
        }
        """The share of each manufacturer."""

    def choose(self, item: str) -> str:
        """Return the manufacturer whose piece contains the item's point."""
        place = point(item) * self._total
        for name, end in self._ends:
            if place < end:
                return name
        return self._ends[-1][0]


def point(item: str) -> float:
    """Return a number in [0, 1) that depends only on the item's id."""
    digest = blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8, person=b"split").digest()
    return int.from_bytes(digest, "big") / _WHOLE
