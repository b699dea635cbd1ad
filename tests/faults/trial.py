"""One fault under load: begun, ended, recovered from, judged."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress

import asyncpg
import msgspec

from broker.declare import TopologyError
from deploy.local.children import StartError
from schemas import registry
from tests.faults.ledger import Post
from tests.faults.site import Site
from tests.faults.verdict import Verdict, judge
from tests.support.pipeline import until

WARM = 12
"""Accepted posts before the fault begins: a few of each platform."""
RECOVERY = 75.0
"""Seconds from a fault's end in which everything must have come right."""
LONG_RECOVERY = 150.0
"""The same after faults that leave a backlog of thousands of messages."""
LOOK = 0.2


UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    TopologyError,
)
"""The database or the broker is not back yet."""


class SkippedError(Exception):
    """This machine can't have the fault; the text says why."""


class Fault(msgspec.Struct, frozen=True):
    """Something that breaks. `hold` begins it, and ends it when its context ends. May raise SkippedError."""

    name: str
    hold: Callable[[Site], AbstractAsyncContextManager[None]]
    seconds: float = 3.0
    """How long it lasts."""
    slow: bool = False
    """Takes minutes: has more time to recover, and is left out of the soak, where a fault is to follow a fault."""

    @property
    def patience(self) -> float:
        """Seconds from its end in which everything must have come right."""
        return LONG_RECOVERY if self.slow else RECOVERY


class Row(msgspec.Struct, frozen=True):
    """What came of one fault."""

    fault: str
    posts: int = 0
    accepted: int = 0
    refused: int = 0
    """Posts that were answered 503."""
    unanswered: int = 0
    recovery: float | None = None
    """Seconds from the fault's end until posts of every platform were accepted again and nothing older was on its way;
    None: that did not happen in time."""
    verdict: Verdict = msgspec.field(default_factory=Verdict)
    skipped: str | None = None
    """Why it was not run."""
    error: str | None = None
    """Why it could not be run to its end: something did not start again."""
    unmet: str | None = None
    """What else the fault demands and did not get."""

    @property
    def passed(self) -> bool:
        if self.skipped is not None or self.error is not None:
            return self.error is None
        return self.verdict.clean and self.recovery is not None and self.unmet is None


async def run(site: Site, fault: Fault, patience: float | None = None) -> Row:
    """Loads the site, breaks it, and says what was lost. `patience`: instead of the fault's own."""
    patience = fault.patience if patience is None else patience
    start = len(site.ledger.posts)
    try:
        await site.forget()
        async with site.load.running():
            await until(lambda: len(site.ledger.accepted(start)) >= WARM, what="posts to be accepted")
            async with fault.hold(site):
                await asyncio.sleep(fault.seconds)
            recovery = await _recovery(site, start, time.monotonic() + patience)
    except SkippedError as why:
        return Row(fault.name, skipped=str(why))
    except (StartError, AssertionError, *UNAVAILABLE) as why:
        # AssertionError: what was waited for did not happen. The other faults are to be run all the same.
        return Row(fault.name, error=f"{type(why).__name__}: {why}")
    posts = site.ledger.posts[start:]
    return Row(
        fault=fault.name,
        posts=len(posts),
        accepted=sum(post.accepted for post in posts),
        refused=sum(post.status == 503 for post in posts),
        unanswered=sum(post.status == 0 for post in posts),
        recovery=recovery,
        verdict=await arrived(site, posts, time.monotonic() + patience),
        unmet="; ".join(site.unmet) or None,
    )


async def arrived(site: Site, posts: Sequence[Post], deadline: float) -> Verdict:
    """Waits until all that was accepted is where it belongs, or for the moment `deadline`; the last verdict."""
    verdict = Verdict(missing=sum(post.accepted for post in posts))
    while True:
        with suppress(*UNAVAILABLE):
            verdict = await judge(site, posts)
        if verdict.arrived:
            return verdict
        if time.monotonic() > deadline:
            with suppress(*UNAVAILABLE):
                verdict.dead_or_unrouted = await site.dead()
            return verdict
        await asyncio.sleep(LOOK)


async def _recovery(site: Site, start: int, deadline: float) -> float | None:
    """Seconds from now until all is as it should be; None if it isn't at the moment `deadline`."""
    ended = time.monotonic()
    while not _accepting(site.ledger.posts[start:], ended):
        if time.monotonic() > deadline:
            return None
        await asyncio.sleep(LOOK / 4)
    verdict = await arrived(site, site.ledger.posts[start:], deadline)
    return time.monotonic() - ended if verdict.arrived else None


def _accepting(posts: Sequence[Post], since: float) -> bool:
    """Whether a post of every platform that began after `since` has been accepted."""
    return {post.body.platform for post in posts if post.accepted and post.began > since} == set(registry.platforms())
