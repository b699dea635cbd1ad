"""One fault under load: it begins, it ends, the pipeline recovers, and the verdict is made."""

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
"""Seconds from a fault's end in which everything must recover."""
LONG_RECOVERY = 150.0
"""RECOVERY for faults that leave a backlog of thousands of messages."""
POLL_INTERVAL = 0.2
"""Seconds between two verdicts."""


UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    TopologyError,
)
"""Errors that mean that the database or the broker is not back yet."""


class SkippedError(Exception):
    """This machine cannot have the fault; the text gives the reason."""


class Fault(msgspec.Struct, frozen=True):
    """A fault. The context that `hold` returns is the time for which it lasts; entering it may raise SkippedError."""

    name: str
    hold: Callable[[Site], AbstractAsyncContextManager[None]]
    seconds: float = 3.0
    """How long the fault lasts, beyond what `hold` itself takes."""
    slow: bool = False
    """Whether it takes minutes. Such a fault has more time to recover, and is left out of the soak."""

    @property
    def patience(self) -> float:
        """Seconds from its end in which everything must recover."""
        return LONG_RECOVERY if self.slow else RECOVERY


class Row(msgspec.Struct, frozen=True):
    """The result of one fault: a row of the report."""

    fault: str
    posts: int = 0
    accepted: int = 0
    refused: int = 0
    """Posts that were answered 503."""
    unanswered: int = 0
    recovery: float | None = None
    """Seconds from the fault's end until a post of every platform was accepted again and every earlier post was
    processed; None: that did not happen in time."""
    verdict: Verdict = msgspec.field(default_factory=Verdict)
    skipped: str | None = None
    """Why the fault was not run; None: it was."""
    error: str | None = None
    """Why the fault was not run to its end: something did not start again, or what it waits for did not happen."""
    unmet: str | None = None
    """Demands of the fault beyond the counts that were not met."""

    @property
    def passed(self) -> bool:
        if self.skipped is not None or self.error is not None:
            return self.error is None
        return self.verdict.clean and self.recovery is not None and self.unmet is None


async def run(site: Site, fault: Fault, patience: float | None = None) -> Row:
    """Run the fault on the site under load, and return its row. `patience`: instead of the fault's own."""
    patience = fault.patience if patience is None else patience
    start = len(site.ledger.posts)
    try:
        await site.forget()
        async with site.load.running():
            await until(lambda: len(site.ledger.accepted(start)) >= WARM, what="posts to be accepted")
            async with fault.hold(site):
                await asyncio.sleep(fault.seconds)
            recovery = await _recovery(site, start, time.monotonic() + patience)
    except SkippedError as error:
        return Row(fault.name, skipped=str(error))
    except (StartError, AssertionError, *UNAVAILABLE) as error:
        # AssertionError: what was waited for did not happen. The other faults run all the same.
        return Row(fault.name, error=f"{type(error).__name__}: {error}")
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
    """Wait until everything accepted has arrived, at most until monotonic `deadline`; return the last verdict."""
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
        await asyncio.sleep(POLL_INTERVAL)


async def _recovery(site: Site, start: int, deadline: float) -> float | None:
    """Return the seconds from now until the pipeline has recovered; None if it has not by monotonic `deadline`."""
    ended = time.monotonic()
    while not _accepting(site.ledger.posts[start:], ended):
        if time.monotonic() > deadline:
            return None
        await asyncio.sleep(POLL_INTERVAL / 4)
    verdict = await arrived(site, site.ledger.posts[start:], deadline)
    return time.monotonic() - ended if verdict.arrived else None


def _accepting(posts: Sequence[Post], since: float) -> bool:
    """Return whether, of each platform, a post that began after the monotonic time `since` was accepted."""
    return {post.body.platform for post in posts if post.accepted and post.began > since} == set(registry.platforms())
