"""Hours in minutes: one pipeline under load, and every few seconds a fault that nobody chose."""

import asyncio
import random
import time
from collections import Counter
from itertools import pairwise

import msgspec

from tests.faults.catalogue import FAULTS as ALL
from tests.faults.site import Site, site
from tests.faults.trial import Fault, SkippedError, arrived
from tests.faults.verdict import Verdict

LONGEST = 8.0
"""Seconds that one fault lasts at most, here."""
FAULTS = tuple(fault for fault in ALL if not fault.slow)
SETTLE = 180.0
"""Seconds in which all must have come right in the end."""


class Soaked(msgspec.Struct):
    """What came of it."""

    seed: int
    minutes: float
    faults: Counter[str]
    posts: int
    accepted: int
    refused: int
    unanswered: int
    longest: float
    """Seconds, the longest time in which no post was accepted."""
    settled: float
    """Seconds after the last post until nothing was on its way."""
    verdict: Verdict

    def __str__(self) -> str:
        return "\n".join(
            (
                f"- seed {self.seed}, {self.minutes:g} minutes, "
                f"{self.faults.total()} faults of {len(self.faults)} kinds",
                f"- {self.posts:,} posts: {self.accepted:,} accepted, {self.refused:,} refused with 503, "
                f"{self.unanswered:,} without an answer",
                f"- at most {self.longest:.1f} s without an accepted post; {self.settled:.1f} s after the last one "
                "nothing was on its way",
                f"- {', '.join(f'{name} {count}' for name, count in self.verdict.counts.items())}",
            )
        )


async def soak(minutes: float, every: float, seed: int, rate: float) -> Soaked:
    """`every`: seconds from one fault to the next. The same seed chooses the same faults."""
    chosen = random.Random(seed)
    faults: Counter[str] = Counter()
    async with site(seed=seed, rate=rate) as place:
        async with place.load.running():
            until = time.monotonic() + minutes * 60
            while time.monotonic() < until:
                due = time.monotonic() + every
                fault = chosen.choice(FAULTS)
                faults[fault.name] += await _break(place, fault)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        ended = time.monotonic()
        verdict = await arrived(place, place.ledger.posts, ended + SETTLE)
        return _soaked(place, seed, minutes, faults, time.monotonic() - ended, verdict)


async def _break(place: Site, fault: Fault) -> bool:
    """False if this machine can't."""
    try:
        async with fault.hold(place):
            await asyncio.sleep(min(fault.seconds, LONGEST))
    except SkippedError:
        return False
    return True


def _soaked(place: Site, seed: int, minutes: float, faults: Counter[str], settled: float, verdict: Verdict) -> Soaked:
    posts = place.ledger.posts
    answered = sorted(post.ended for post in posts if post.accepted)
    return Soaked(
        seed=seed,
        minutes=minutes,
        faults=+faults,
        posts=len(posts),
        accepted=len(answered),
        refused=sum(post.status == 503 for post in posts),
        unanswered=sum(post.status == 0 for post in posts),
        longest=max((after - before for before, after in pairwise(answered)), default=0.0),
        settled=settled,
        verdict=verdict,
    )
