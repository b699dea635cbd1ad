"""Runs every fault, on a site of the kind that it needs, and mutants that prove that the suite detects losses."""

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
from tests.faults import catalogue, cluster, replica
from tests.faults.catalogue import Group, large, machine, named, poison, timeouts
from tests.faults.site import RATE, Site, site
from tests.faults.trial import Fault, Row, run
from tests.faults.verdict import COUNTS

LIMIT = 40 * 60.0
"""Seconds for the whole run, of which an otherwise idle machine takes little more than half. A fault that would begin
later is not run, and counts as failed."""
SMALL_DISK = "1500m"
"""Size of the file system for the fault that fills a disk, as an option of mount."""
TIME_IS_UP = "time was up"
"""Why a fault is skipped that would begin after LIMIT."""
LOW_RATE = 15.0
"""Posts per second where a fault makes a backlog of a minute or of thousands: few should be added to it, since the
suite's subscribers take some hundred deliveries per second at most."""
CONSUMER_TIMEOUT = "RabbitMQ's consumer_timeout of one minute"
MAX_SITES = 2
"""Sites that run at the same time: most of a fault is waiting."""
UNLIMITED = frozenset({CONSUMER_TIMEOUT})
"""Groups whose site does not count towards MAX_SITES: they take minutes, in which little happens."""
POISON = "a message that nobody can handle"
MUTANTS = "without one safeguard: to be seen"


class Result(msgspec.Struct, frozen=True):
    """The result of one fault of the run."""

    group: str
    row: Row
    mutant: str | None = None
    """The safeguard that was left out. The fault passes then if its absence was detected."""
    shows: str = ""
    """What detects it (`Mutation.shows`)."""

    @property
    def passed(self) -> bool:
        if self.row.skipped is not None:
            return self.row.skipped != TIME_IS_UP
        if self.mutant is None or self.row.error is not None:
            return self.row.passed
        if self.shows in COUNTS:
            return bool(self.row.verdict.counts[self.shows])
        return self.row.unmet is not None and self.shows in self.row.unmet


class Mutation(msgspec.Struct, frozen=True, kw_only=True):
    """A safeguard to leave out, and a fault that detects that it is missing."""

    safeguard: str
    """A name of `mutant.SAFEGUARDS`."""
    fault: str
    shows: str
    """The only thing that counts as detected: the name of a count that must not be zero, or a part of `Row.unmet`."""
    patience: float = 5.0
    """Seconds after which what has not arrived is counted as lost."""
    seconds: float | None = None
    """How long the fault lasts; None: as long as it does with the safeguard."""
    rate: float = RATE
    """Posts of the load per second."""


MUTATIONS = (
    Mutation(safeguard="confirm", fault="ingress – rabbitmq cut", shows="missing"),
    Mutation(safeguard="ack", fault="store killed while PostgreSQL stalls", shows="missing"),
    Mutation(safeguard="identity", fault="COMMIT's answer lost", shows="twice"),
    # Lasts until attempts have timed out: then a worker without the lease repeats what the other has in progress.
    Mutation(
        safeguard="lease", fault="deliver – subscribers stalled", shows="beyond the limit", patience=15.0, seconds=15.0
    ),
    # While subscribers stall, the workers hold leases when they die.
    Mutation(safeguard="expiry", fault="deliver killed while subscribers stall", shows="not delivered", patience=20.0),
    # Lasts until a message has been tried as often as one may be, with its jsonb and without.
    Mutation(safeguard="classification", fault="each insert raises 53200", shows="wrongly quarantined", seconds=15.0),
    Mutation(safeguard="limit", fault="SIGKILL of store", shows="wrongly quarantined"),
    Mutation(
        safeguard="isolation",
        fault="poison among 2,000 neighbours: kills its worker",
        shows="neighbours are not stored",
        rate=LOW_RATE,
    ),
    Mutation(safeguard="size", fault="700 documents of 1 MB wait for the store worker", shows=" MiB", rate=LOW_RATE),
)


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """Mount a file system of its own for a site; None if this user may mount none."""
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
        async with site(home=folder, seed=seed) as started:
            yield started


def sites(seed: int) -> list[tuple[AbstractAsyncContextManager[Site], Sequence[Group]]]:
    """Return the sites, none of them started, and which faults run on each."""
    return [
        (site(seed=seed), [catalogue.PROCESSES, catalogue.SERVERS, catalogue.CLOCKS]),
        (site(seed=seed + 1), [catalogue.CONNECTIONS, catalogue.PAIRS]),
        (_on_small_disk(seed + 2), [Group("a disk that is full", machine.FULL)]),
        (site(backing=cluster.Clustered, seed=seed + 3), [Group("three-node RabbitMQ cluster", cluster.FAULTS)]),
        (site(backing=replica.Replicated, seed=seed + 4), [Group("PostgreSQL with a replica", replica.FAULTS)]),
        (site(backing=timeouts.ShortTimeout, seed=seed + 5, rate=LOW_RATE), [Group(CONSUMER_TIMEOUT, timeouts.FAULTS)]),
        (site(seed=seed + 6, rate=LOW_RATE), [catalogue.UNAVAILABLE]),
        (site(seed=seed + 7), [catalogue.ERRORS]),
        (site(seed=seed + 8, rate=LOW_RATE), [Group(POISON, (*poison.FAULTS, *large.MANY_FIELDS))]),
        (site(seed=seed + 9, rate=LOW_RATE), [Group("documents of 1 MB, and 512 MiB for each process", large.BACKLOG)]),
        (
            site(backing=large.SmallMessages, ingress=large.ACCEPTING, seed=seed + 10),
            [Group("RabbitMQ takes no message above 1 MiB", large.MESSAGES)],
        ),
    ]


async def everything(
    only: str, seed: int, on_result: Callable[[Result], None], patience: float | None = None
) -> list[Result]:
    """Run all faults whose name contains `only`, and return their results in the order of the table.

    `on_result` is called with each as it comes. `patience`: instead of each fault's own, for faults that are known to
    fail.
    """
    end = time.monotonic() + LIMIT
    slots = asyncio.Semaphore(MAX_SITES)

    async def collect(rows: AsyncIterator[Result], slot: AbstractAsyncContextManager[object] = slots) -> list[Result]:
        results = []
        async with slot:
            async for result in rows:
                on_result(result)
                results.append(result)
        return results

    runs = []
    for place, groups in sites(seed):
        selected = [(group.name, fault) for group in groups for fault in group.faults if only in fault.name]
        if selected:
            slot = nullcontext() if UNLIMITED.issuperset(name for name, _ in selected) else slots
            runs.append(collect(_run_on(place, selected, end, patience), slot))
    for number, mutation in enumerate(MUTATIONS):
        label = f"without {mutation.safeguard}: {mutation.fault}"
        if only in label:
            runs.append(collect(_run_mutation(mutation, seed + 20 + number, label, end)))
    return [result for results in await asyncio.gather(*runs) for result in results]


async def _run_on(
    place: AbstractAsyncContextManager[Site],
    selected: Sequence[tuple[str, Fault]],
    end: float,
    patience: float | None,
) -> AsyncIterator[Result]:
    """Yield the results of these faults, with their groups' names, on one site. `end`: monotonic time of LIMIT."""
    if time.monotonic() > end:
        for group, fault in selected:
            yield Result(group, Row(fault.name, skipped=TIME_IS_UP))
        return
    remaining = list(selected)
    try:
        async with place as started:
            while remaining:
                group, fault = remaining[0]
                if time.monotonic() > end:
                    yield Result(group, Row(fault.name, skipped=TIME_IS_UP))
                else:
                    yield Result(group, await run(started, fault, patience))
                del remaining[0]
    except (StartError, TimeoutError) as error:
        for group, fault in remaining:
            yield Result(group, Row(fault.name, error=str(error)))


async def _run_mutation(mutation: Mutation, seed: int, label: str, end: float) -> AsyncIterator[Result]:
    if time.monotonic() > end:
        yield Result(MUTANTS, Row(label, skipped=TIME_IS_UP), mutation.safeguard, mutation.shows)
        return
    result = await mutated(mutation, seed, label)
    # What a missing safeguard causes is a matter of timing, and not every run on a busy machine causes it.
    yield result if result.passed else await mutated(mutation, seed + len(MUTATIONS), label)


async def mutated(mutation: Mutation, seed: int, label: str) -> Result:
    """Run the mutation's fault on a pipeline that lacks the safeguard. `label`: the fault's name in the result."""
    try:
        async with site(mutant=mutation.safeguard, seed=seed, rate=mutation.rate) as started:
            fault = named(mutation.fault)
            if mutation.seconds is not None:
                fault = msgspec.structs.replace(fault, seconds=mutation.seconds)
            row = await run(started, fault, mutation.patience)
    except (StartError, TimeoutError) as error:
        row = Row(label, error=str(error))
    return Result(MUTANTS, msgspec.structs.replace(row, fault=label), mutation.safeguard, mutation.shows)
