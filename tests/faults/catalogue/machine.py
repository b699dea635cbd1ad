"""The machine itself: a full disk, a clock that jumps."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import asyncpg
import msgspec

from tests.faults.catalogue.servers import single
from tests.faults.ledger import Body
from tests.faults.process import Process
from tests.faults.site import Site
from tests.faults.trial import Fault, SkippedError
from tests.support.pipeline import until

LIBFAKETIME = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
)
"""Where Debian and Ubuntu install it; LIBFAKETIME in the environment names another path."""
NEARLY_FULL = 30 << 20
"""Bytes left: fewer than RabbitMQ's limit here (`deploy.local.rabbitmq`), enough for the messages that it has."""
JUMP = 1800
"""Seconds by which a clock jumps: more than any lease, deadline or time-out."""
DIFFERENCE = 120
"""Seconds between the clocks of two processes."""
REREAD = 3.0
"""Seconds until libfaketime has read its file again."""
CHANGING, VERSIONS = 20, 3
"""Documents that change while clocks differ, and how often each is posted."""
CURRENT = "SELECT key, raw FROM crossdock.current_events WHERE key = ANY ($1::text[])"
STORED = "SELECT key, count(*) AS versions FROM crossdock.events WHERE key = ANY ($1::text[]) GROUP BY 1"


@asynccontextmanager
async def disk_full(site: Site) -> AsyncIterator[None]:
    """Fill the disk of both servers to the last byte; at the end there is space again, and RabbitMQ is restarted.

    The disk fills gradually, so that RabbitMQ's alarm comes first. If a disk becomes full at once under load, the
    file from which RabbitMQ 3.10 starts a quorum queue again may be truncated. Raises SkippedError unless the folder
    is a disk of its own.
    """
    if not site.folder.is_mount():
        raise SkippedError("takes root, to mount a small file system")
    filler = site.folder / "filler"
    start = len(site.ledger.posts)
    try:
        await asyncio.to_thread(_fill, filler, NEARLY_FULL)
        await until(lambda: any(post.status == 503 for post in site.ledger.posts[start:]), what="the disk alarm")
        await asyncio.to_thread(_fill, filler, 0)
        yield
    finally:
        filler.unlink(missing_ok=True)
        if not single(site).postgres.alive:  # `crossdock up` does the same
            await single(site).postgres.restart()
        # RabbitMQ runs on without its write-ahead log, which has failed: it accepts nothing until it is restarted.
        await single(site).rabbitmq.restart()


def _fill(file: Path, left: int) -> None:
    """Append to the file until only `left` bytes of the disk are free."""
    with file.open("ab", buffering=0) as out, suppress(OSError):
        while shutil.disk_usage(file.parent).free > left:
            out.write(bytes(1 << 20))
    if left:
        return
    with file.open("ab", buffering=0) as out, suppress(OSError):
        while True:
            out.write(bytes(1 << 10))


@asynccontextmanager
async def clock_jumped(site: Site, seconds: int) -> AsyncIterator[None]:
    """Let the clock of all our processes jump, and jump back at the end. Raises SkippedError without libfaketime."""
    clock = site.folder / "clock"
    await _restart(site.all, _clock(clock))
    try:
        clock.write_text(f"{seconds:+d}\n")
        yield
        clock.write_text("+0\n")
    finally:
        await _restart(site.all, {})


@asynccontextmanager
async def clocks_apart(site: Site, ahead: str, behind: str) -> AsyncIterator[None]:
    """Set the clock of one kind of process a minute ahead, and of another a minute behind. Documents that change
    meanwhile must end with their newest content, and uStore must get its answers. Raises SkippedError without
    libfaketime."""
    changed = [*site.processes[ahead], *site.processes[behind]]
    try:
        await _restart(site.processes[ahead], _clock(site.folder / "clock-ahead", DIFFERENCE // 2))
        await _restart(site.processes[behind], _clock(site.folder / "clock-behind", -DIFFERENCE // 2))
        start = len(site.ledger.posts)
        documents = [site.load.fresh("channelape") for _ in range(CHANGING)]
        for number in range(VERSIONS):
            newest = [_revised(body, number) for body in documents]
            await site.load.post_all(newest, on_record=False)
        yield
        orders = [post for post in site.ledger.posts[start:] if post.body.platform == "ustore"]
        if late := sum(post.status is not None and not post.accepted for post in orders):
            site.unmet.append(f"{late} of {len(orders)} uStore orders were not answered in time")
        await _see_newest(site, newest)
    finally:
        await _restart(changed, {})


@asynccontextmanager
async def clock_stepped_back(site: Site) -> AsyncIterator[None]:
    """Set the ingress's clock two minutes ahead, and correct it between two versions of the same documents. Raises
    SkippedError without libfaketime."""
    clock = site.folder / "clock"
    processes = site.processes["ingress"]
    database = await site.database()
    try:
        await _restart(processes, _clock(clock, DIFFERENCE))
        documents = [site.load.fresh("channelape") for _ in range(CHANGING)]
        keys = [body.key for body in documents]
        for number in range(VERSIONS):
            if number == VERSIONS - 1:
                # A time too far ahead is replaced by the time of storing, and the last version must be later than that.
                before = partial(_have_versions, database, keys, VERSIONS - 1)
                await until(before, what="the versions of before the step")
                clock.write_text("+0\n")
                await asyncio.sleep(REREAD)
            newest = [_revised(body, number) for body in documents]
            await site.load.post_all(newest, on_record=False)
        yield
        await _see_newest(site, newest)
    finally:
        await database.close()
        await _restart(processes, {})


def _clock(file: Path, seconds: int = 0) -> dict[str, str]:
    """Return the environment of a process whose clock differs by what the file says. Raises SkippedError."""
    library = next(filter(os.path.exists, (os.environ.get("LIBFAKETIME", ""), *LIBFAKETIME)), None)
    if library is None:
        raise SkippedError("libfaketime is not installed: apt-get install libfaketime")
    file.write_text(f"{seconds:+d}\n")
    return {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


async def _restart(processes: Sequence[Process], more: dict[str, str]) -> None:
    for process in processes:
        await process.stop()
        await process.start(**more)


def _revised(body: Body, number: int) -> Body:
    """Return another version of the same document."""
    raw = body.raw.replace(b"{", b'{"revision": %d, ' % number, 1)
    return msgspec.structs.replace(body, raw=raw)


async def _see_newest(site: Site, newest: Sequence[Body]) -> None:
    """Check that the current event of each document is what was posted last."""
    database = await site.database()
    keys = [body.key for body in newest]
    try:
        await until(lambda: _have_versions(database, keys), what="every version of every document")
        current = {row["key"]: bytes(row["raw"]) for row in await database.fetch(CURRENT, keys)}
        if wrong := sum(current[body.key] != body.raw for body in newest):
            site.unmet.append(f"{wrong} of {len(newest)} documents have an older version as their newest")
    finally:
        await database.close()


async def _have_versions(database: asyncpg.Connection, keys: Sequence[str], count: int = VERSIONS) -> bool:
    rows = await database.fetch(STORED, keys)
    return len(rows) == len(keys) and all(row["versions"] == count for row in rows)


FAULTS = (
    Fault("clock half an hour ahead", partial(clock_jumped, seconds=JUMP), 5.0),
    Fault("clock half an hour back", partial(clock_jumped, seconds=-JUMP), 5.0),
    Fault("ingress two minutes ahead of route", partial(clocks_apart, ahead="ingress", behind="route"), 3.0),
    Fault("route two minutes ahead of ingress", partial(clocks_apart, ahead="route", behind="ingress"), 3.0),
    Fault("the ingress's clock steps two minutes back", clock_stepped_back, 3.0),
)
FULL = (Fault("disk full", disk_full, 4.0),)
"""Faults of a site whose folder is a small disk."""
