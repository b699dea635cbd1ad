"""How much one run measures: enough for a median, or a quick look."""

import msgspec


class Plan(msgspec.Struct, frozen=True):
    """Counts and seconds. A part that needs other figures derives them from these."""

    runs: int
    """Pairs of runs, A and B in turn."""
    seconds: int
    """Seconds of one run of load on the ingress."""
    paced: int
    """Seconds at a steady rate, for latencies."""
    messages: int
    """Messages in a backlog for the store worker."""
    small: int
    """Messages in the backlog that the large one is compared with; this many are stored of either."""
    large: int
    """Messages in a large backlog."""
    stored: int
    """Events in a used database."""
    answers: int
    deliveries: int
    published: int
    handled: tuple[int, int]
    """Numbers of messages after which memory is measured."""
    idle: int
    """Seconds for which an idle system is measured."""


FULL = Plan(
    runs=3,
    seconds=3,
    paced=10,
    messages=15_000,
    small=10_000,
    large=300_000,
    stored=2_000_000,
    answers=1_000,
    deliveries=15_000,
    published=30_000,
    handled=(50_000, 500_000),
    idle=10,
)
QUICK = Plan(
    runs=1,
    seconds=1,
    paced=3,
    messages=12_000,
    small=10_000,
    large=40_000,
    stored=10_000,
    answers=160,
    deliveries=3_000,
    published=8_000,
    handled=(2_000, 4_000),
    idle=4,
)
"""One pair each and no spread: it shows that everything runs, and rough figures.

Backlogs take a worker at least a second: of shorter ones, the last tenth of a second decides the figure.
"""
