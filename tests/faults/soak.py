"""The soak: one pipeline under load, and a random fault every few seconds."""

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

MAX_FAULT = 8.0
"""Maximum seconds of one fault."""
FAULTS = tuple(fault for fault in ALL if not fault.slow)
SETTLE = 180.0
"""Seconds after the end in which everything must recover."""


class SoakResult(msgspec.Struct):
    """The result of a soak."""

    seed: int
    minutes: float
    faults: Counter[str]
    posts: int
    accepted: int
    refused: int
    unanswered: int
    longest: float
    """The longest time without an accepted post, in seconds."""
    settled: float
    """Seconds from the last post until every post was processed."""
    verdict: Verdict

    def __str__(self) -> str:
        return "\n".join(
            (
                f"- seed {self.seed}, {self.minutes:g} minutes, "
                f"{self.faults.total()} faults of {len(self.faults)} kinds",
                f"- {self.posts:,} posts: {self.accepted:,} accepted, {self.refused:,} refused with 503, "
                f"{self.unanswered:,} without an answer",
                f"- at most {self.longest:.1f} s without an accepted post; {self.settled:.1f} s after the last one "
                "every post was processed",
                f"- {', '.join(f'{name} {count}' for name, count in self.verdict.counts.items())}",
            )
        )


async def soak(minutes: float, every: float, seed: int, rate: float) -> SoakResult:
    """Run a soak. `every`: seconds from one fault to the next. The same seed chooses the same faults."""
    chosen = random.Random(seed)
    faults: Counter[str] = Counter()
    async with site(seed=seed, rate=rate) as target:
        async with target.load.running():
            until = time.monotonic() + minutes * 60
            while time.monotonic() < until:
                due = time.monotonic() + every
                fault = chosen.choice(FAULTS)
                faults[fault.name] += await _break(target, fault)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        ended = time.monotonic()
        verdict = await arrived(target, target.ledger.posts, ended + SETTLE)
        return _result(target, seed, minutes, faults, time.monotonic() - ended, verdict)


async def _break(target: Site, fault: Fault) -> bool:
    """Inject the fault; return False if this machine cannot have it."""
    try:
        async with fault.hold(target):
            await asyncio.sleep(min(fault.seconds, MAX_FAULT))
    except SkippedError:
        return False
    return True


def _result(
    target: Site, seed: int, minutes: float, faults: Counter[str], settled: float, verdict: Verdict
) -> SoakResult:
    posts = target.ledger.posts
    answered = sorted(post.ended for post in posts if post.accepted)
    return SoakResult(
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
