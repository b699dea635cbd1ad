"""PostgreSQL answers random statements with random errors."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from tests.faults.catalogue.unavailable import answering
from tests.faults.site import Site
from tests.faults.sqlproxy import Answer, Statement, Trouble, is_about_a_row, sqlstates
from tests.faults.trial import Fault

DRAWS = 1000
PART = 250
"""Draws per fault; after each fault the messages are checked."""
FEW = 20
"""Draws of the fault that is short enough for a soak."""
ROW_DRAWS = 100
SHORTEST, LONGEST = 0.05, 0.5
"""Seconds that one error lasts, at least and at most."""
PROBABILITIES = (1.0, 1.0, 0.5, 0.1)
COMMITTED = 4.0
"""Seconds for which commits are answered with errors."""
PAUSE = 0.05
"""Seconds between two errors, in which waiting work continues."""

UNAVAILABLE = tuple(state for state in sqlstates() if not is_about_a_row(state))
ABOUT_ROWS = tuple(state for state in sqlstates() if is_about_a_row(state))


def draws(seed: int, states: Sequence[str]) -> Iterator[tuple[Trouble, float]]:
    """Yield errors and how many seconds each lasts. The same seed draws the same errors."""
    chosen = random.Random(seed)
    statements = tuple(Statement)
    while True:
        several = frozenset(chosen.sample(statements, chosen.choice((1, 1, 2, len(statements)))))
        trouble = Trouble(chosen.choice(states), several, chosen.choice(tuple(Answer)), chosen.choice(PROBABILITIES))
        yield trouble, chosen.uniform(SHORTEST, LONGEST)


@asynccontextmanager
async def drawn(site: Site, states: Sequence[str], count: int, seed: int) -> AsyncIterator[None]:
    """Inject `count` draws, one after the other."""
    before = sum(proxy.answered for proxy in site.sql.values())
    for _, (trouble, seconds) in zip(range(count), draws(site.seed + seed, states), strict=False):
        with answering(site, trouble):
            await asyncio.sleep(seconds)
        await asyncio.sleep(PAUSE)
    answered = sum(proxy.answered for proxy in site.sql.values()) - before
    if answered < count / 4:
        site.unmet.append(f"{count} draws, and only {answered} statements were answered with an error")
    yield


@asynccontextmanager
async def committed(site: Site) -> AsyncIterator[None]:
    """Answer half of all commits with an error, although they were done."""
    with answering(site, Trouble("53200", frozenset({Statement.COMMIT}), Answer.LOST, 0.5)):
        await asyncio.sleep(COMMITTED)
    yield


@asynccontextmanager
async def all_rows_fail(site: Site) -> AsyncIterator[None]:
    """Fail every statement with an error about a row, whatever it writes: no message is to blame for it."""
    for state in ABOUT_ROWS:
        with answering(site, Trouble(state, frozenset({Statement.EXECUTE, Statement.COPY}))):
            await asyncio.sleep(LONGEST)
    yield


def _any(count: int, part: int) -> Fault:
    first = part * count + 1
    name = f"any SQLSTATE at any statement, draws {first}–{first + count - 1}"
    return Fault(name, partial(drawn, states=UNAVAILABLE, count=count, seed=100 + part), 0.0, slow=True)


FAULTS = (
    Fault(f"any SQLSTATE at any statement, {FEW} draws", partial(drawn, states=UNAVAILABLE, count=FEW, seed=99), 0.0),
    *(_any(PART, part) for part in range(DRAWS // PART)),
    Fault("COMMIT done, and answered with 53200", committed, 0.0),
    Fault("errors about rows, whatever is written", all_rows_fail, 0.0, slow=True),
)
BY_CHANCE = Fault(
    "errors about rows at any statement, at random",
    partial(drawn, states=ABOUT_ROWS, count=ROW_DRAWS, seed=200),
    0.0,
    slow=True,
)
"""Not part of the suite: an error about a row that only one message meets cannot be told from that message's fault."""
