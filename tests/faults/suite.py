"""Every fault, one at a time, on a site of the kind it needs; and the suite's own test, mutants that it must see."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

import msgspec

from deploy.local.children import StartError
from tests.faults import cluster, replica
from tests.faults.catalogue import GROUPS, Group, large, machine, named, poison, timeouts
from tests.faults.site import RATE, Site, site
from tests.faults.trial import Fault, Row, run
from tests.faults.verdict import Verdict

LIMIT = 40 * 60.0
"""Seconds for everything, of which a machine that does nothing else takes little more than half; what would begin later
is not run, which counts as failed."""
SMALL_DISK = "1500m"
TIME_IS_UP = "time was up"
SLOWLY = 15.0
"""Posts per second where a fault makes a backlog of a minute or of thousands: little is to come on top of it, since the
suite's subscribers take some hundred deliveries per second at most."""
CONSUMER_TIMEOUT = "RabbitMQ's consumer_timeout of one minute"
AT_ONCE = 2
"""Sites at a time: most of a fault is waiting."""
BESIDE = frozenset({CONSUMER_TIMEOUT})
"""Groups that run beside these from the beginning: they take minutes, in which little happens."""
POISON = "a message that nobody can handle"
MUTANTS = "without one safeguard: to be seen"


class Done(msgspec.Struct, frozen=True):
    """One fault of the whole run."""

    group: str
    row: Row
    mutant: str | None = None
    """The safeguard that was left out: then the fault is to be seen."""
    shows: str = ""
    """What it is to be seen by (`Mutation.shows`)."""

    @property
    def passed(self) -> bool:
        if self.row.skipped is not None:
            return self.row.skipped != TIME_IS_UP
        if self.mutant is None or self.row.error is not None:
            return self.row.passed
        if self.shows in Verdict.__struct_fields__:
            return bool(getattr(self.row.verdict, self.shows))
        return self.row.unmet is not None and self.shows in self.row.unmet


class Mutation(msgspec.Struct, frozen=True):
    """A safeguard, and a fault that shows that it is missing."""

    safeguard: str
    fault: str
    shows: str
    """What it is to be seen by, so that nothing else passes for it: a count of the verdict that is not zero, or a part
    of what is unmet."""
    patience: float = 5.0
    """Seconds after which what hasn't arrived is taken for lost."""
    seconds: float | None = None
    """How long the fault lasts; None: as long as it does where nothing is missing."""
    rate: float = RATE
    """Posts per second of the load."""


MUTATIONS = (
    Mutation("confirm", "ingress – rabbitmq cut", "missing"),
    Mutation("ack", "store killed while PostgreSQL stalls", "missing"),
    Mutation("identity", "COMMIT's answer lost", "twice"),
    # Until attempts have timed out: who has no lease sends once more then what the other has under way.
    Mutation("lease", "deliver – subscribers stalled", "crowded", 15.0, seconds=15.0),
    # While subscribers stall, leases are held when the workers die.
    Mutation("expiry", "deliver killed while subscribers stall", "undelivered", 20.0),
    # Until a message has had its tries, with its jsonb and without.
    Mutation("classification", "each insert raises 53200", "innocent", seconds=15.0),
    Mutation("limit", "SIGKILL of store", "innocent"),
    Mutation("isolation", "poison among 2,000 neighbours: kills its worker", "neighbours are not stored", rate=SLOWLY),
    Mutation("size", "700 documents of 1 MB wait for the store worker", " MiB", rate=SLOWLY),
)


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """A file system of its own for a site; None where this user may mount none."""
    folder = Path(tempfile.mkdtemp(prefix="crossdock-disk-"))
    try:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=755", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            yield None
            return
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _on_small_disk(seed: int) -> AsyncIterator[Site]:
    with small_disk() as folder:
        async with site(home=folder, seed=seed) as place:
            yield place


def _places(seed: int) -> list[tuple[AbstractAsyncContextManager[Site], Sequence[Group]]]:
    """Sites, and what is broken on each."""
    ours, servers, between, clock, pairs, unavailable, errors = GROUPS
    return [
        (site(seed=seed), [ours, servers, clock]),
        (site(seed=seed + 1), [between, pairs]),
        (_on_small_disk(seed + 2), [Group("a disk that is full", machine.FULL)]),
        (site(backing=cluster.Clustered, seed=seed + 3), [Group("three-node RabbitMQ cluster", cluster.FAULTS)]),
        (site(backing=replica.Replicated, seed=seed + 4), [Group("PostgreSQL with a replica", replica.FAULTS)]),
        (site(backing=timeouts.ShortTimeout, seed=seed + 5, rate=SLOWLY), [Group(CONSUMER_TIMEOUT, timeouts.FAULTS)]),
        (site(seed=seed + 6, rate=SLOWLY), [unavailable]),
        (site(seed=seed + 7), [errors]),
        (
            site(seed=seed + 8, rate=SLOWLY),
            [Group(POISON, (*poison.FAULTS, *large.MANY_FIELDS))],
        ),
        (site(seed=seed + 9, rate=SLOWLY), [Group("documents of 1 MB, and 512 MiB for each process", large.BACKLOG)]),
        (
            site(backing=large.SmallMessages, ingress=large.ACCEPTING, seed=seed + 10),
            [Group("RabbitMQ takes no message above 1 MiB", large.MESSAGES)],
        ),
    ]


async def everything(only: str, seed: int, say: Callable[[Done], None], patience: float | None = None) -> list[Done]:
    """All faults whose name holds `only`, in the order of the table; `say` hears of each as it comes. `patience`:
    instead of each fault's own, for looking at faults that are known to fail."""
    until = time.monotonic() + LIMIT
    turn = asyncio.Semaphore(AT_ONCE)

    async def run_all(rows: AsyncIterator[Done], at: AbstractAsyncContextManager[object] = turn) -> list[Done]:
        rows_done = []
        async with at:
            async for done in rows:
                say(done)
                rows_done.append(done)
        return rows_done

    works = []
    for place, groups in _places(seed):
        selected = [(group.name, fault) for group in groups for fault in group.faults if only in fault.name]
        if selected:
            at = nullcontext() if BESIDE.issuperset(name for name, _ in selected) else turn
            works.append(run_all(_on(place, selected, until, patience), at))
    for number, mutation in enumerate(MUTATIONS):
        label = f"without {mutation.safeguard}: {mutation.fault}"
        if only in label:
            works.append(run_all(_mutated(mutation, seed + 20 + number, label, until)))
    return [done for several in await asyncio.gather(*works) for done in several]


async def _on(
    place: AbstractAsyncContextManager[Site],
    selected: Sequence[tuple[str, Fault]],
    until: float,
    patience: float | None,
) -> AsyncIterator[Done]:
    if time.monotonic() > until:
        for group, fault in selected:
            yield Done(group, Row(fault.name, skipped=TIME_IS_UP))
        return
    left = list(selected)
    try:
        async with place as started:
            while left:
                group, fault = left[0]
                late = time.monotonic() > until
                yield Done(group, Row(fault.name, skipped=TIME_IS_UP) if late else await run(started, fault, patience))
                del left[0]
    except (StartError, TimeoutError) as why:
        for group, fault in left:
            yield Done(group, Row(fault.name, error=str(why)))


async def _mutated(mutation: Mutation, seed: int, label: str, until: float) -> AsyncIterator[Done]:
    if time.monotonic() > until:
        yield Done(MUTANTS, Row(label, skipped=TIME_IS_UP), mutation.safeguard, mutation.shows)
        return
    done = await mutated(mutation, seed, label)
    # What a missing safeguard does is a matter of timing, and not every run on a busy machine meets it.
    yield done if done.passed else await mutated(mutation, seed + len(MUTATIONS), label)


async def mutated(mutation: Mutation, seed: int, label: str) -> Done:
    """The same fault on a pipeline that lacks the safeguard."""
    try:
        async with site(mutant=mutation.safeguard, seed=seed, rate=mutation.rate) as place:
            fault = named(mutation.fault)
            if mutation.seconds is not None:
                fault = msgspec.structs.replace(fault, seconds=mutation.seconds)
            row = await run(place, fault, mutation.patience)
    except (StartError, TimeoutError) as why:
        row = Row(label, error=str(why))
    return Done(MUTANTS, msgspec.structs.replace(row, fault=label), mutation.safeguard, mutation.shows)
