"""A small picture of numbers over time, as the path of an SVG that a template draws beside the numbers. Pure."""

from collections.abc import Sequence

import msgspec

HEIGHT = 20
"""Height of the picture in its own units; it is one unit wide per number."""


class Curve(msgspec.Struct, frozen=True):
    """A picture of numbers, as steps."""

    width: int
    path: str
    """The `d` of an SVG path: an area from the bottom up. Empty if all numbers are 0."""
    total: int
    peak: int
    """The greatest number, which reaches the top."""


def curve(numbers: Sequence[int]) -> Curve:
    """Return the picture of numbers, the oldest first. A number above 0 is at least one unit high."""
    peak = max(numbers, default=0)
    if peak <= 0:
        return Curve(len(numbers), "", 0, 0)
    parts = [f"M0 {HEIGHT}"]
    before = HEIGHT
    for x, number in enumerate(numbers):
        y = HEIGHT - (max(1, round(number * HEIGHT / peak)) if number > 0 else 0)
        if y != before:
            parts.append(f"{f'H{x}' if x else ''}V{y}")
            before = y
    parts.append(f"H{len(numbers)}V{HEIGHT}Z")
    return Curve(len(numbers), "".join(parts), sum(numbers), peak)
