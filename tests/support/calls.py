"""Counts the calls that a function makes: a cost that does not depend on the machine or on its load."""

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any


def count_calls(run: Callable[[], object]) -> Counter[str]:
    """Return how often `run` and what it calls enter each function, by qualified name; built-in functions count too."""
    counts: Counter[str] = Counter()

    def observe(frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            counts[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            counts[called.__qualname__] += 1

    before = sys.getprofile()
    sys.setprofile(observe)
    try:
        run()
    finally:
        sys.setprofile(before)
    counts[sys.setprofile.__qualname__] -= 1
    counts[run.__qualname__] -= 1
    return +counts
