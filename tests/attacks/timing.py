"""Measures whether a check takes longer if more of a credential is right, by medians of interleaved samples."""

import random
import statistics
import time
from collections.abc import Callable

Check = Callable[[str], object]

ROUNDS = 60
"""Each round measures every credential once, in random order, so that a slow machine slows all of them."""
REPEATS = 40
"""Calls per sample: a single call is too short for the clock."""
CREDENTIALS = 12


def slope(check: Check, right: str, seed: int = 0) -> tuple[float, float]:
    """Return how much longer `check` takes for credentials that are wrong in their last character only than for those
    wrong in their first, as a share of its time, and an upper bound of what chance alone causes (by permutation).

    All credentials are wrong and of the same length; there are several of each kind.
    """
    draw = random.Random(seed)
    early = [_wrong_at(right, 0, draw) for _ in range(CREDENTIALS)]
    late = [_wrong_at(right, len(right) - 1, draw) for _ in range(CREDENTIALS)]
    taken: dict[tuple[int, int], list[float]] = {}
    order = [(side, number) for side in (0, 1) for number in range(CREDENTIALS)]
    for _ in range(ROUNDS):
        draw.shuffle(order)
        for side, number in order:
            credential = (early, late)[side][number]
            began = time.perf_counter_ns()
            for _ in range(REPEATS):
                check(credential)
            taken.setdefault((side, number), []).append((time.perf_counter_ns() - began) / REPEATS)
    # The fastest third of each credential's samples, because interruptions only add time.
    typical = {key: statistics.median(sorted(samples)[: ROUNDS // 3]) for key, samples in taken.items()}
    sides = [[typical[side, number] for number in range(CREDENTIALS)] for side in (0, 1)]
    level = statistics.median(typical.values())
    difference = (statistics.median(sides[1]) - statistics.median(sides[0])) / level
    return difference, _chance(sides, level, draw)


def _wrong_at(right: str, place: int, draw: random.Random) -> str:
    other = draw.choice([c for c in "0123456789abcdef" if c != right[place].lower()])
    return right[:place] + other + right[place + 1 :]


def _chance(sides: list[list[float]], level: float, draw: random.Random) -> float:
    """Return the largest difference among a thousand random divisions of the same figures into two sides."""
    both, largest = [*sides[0], *sides[1]], 0.0
    for _ in range(1000):
        draw.shuffle(both)
        apart = statistics.median(both[:CREDENTIALS]) - statistics.median(both[CREDENTIALS:])
        largest = max(largest, abs(apart) / level)
    return largest
