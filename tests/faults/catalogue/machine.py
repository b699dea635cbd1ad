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
"""Where Debian and Ubuntu keep it; LIBFAKETIME in the environment names another place."""
NEARLY = 30 << 20
"""Bytes: less than RabbitMQ's limit here (`deploy.local.rabbitmq`), enough for what it has in hand."""
JUMP = 1800
"""Seconds: more than any lease, deadline or time-out."""
APART = 120
"""Seconds between two processes' clocks."""
NOTICED = 3.0
"""Seconds until libfaketime has read its file again."""
CHANGING, VERSIONS = 20, 3
"""Documents that change while clocks differ, and how often each is posted."""
CURRENT = "SELECT key, raw FROM crossdock.current_events WHERE key = ANY ($1::text[])"
STORED = "SELECT key, count(*) AS versions FROM crossdock.events WHERE key = ANY ($1::text[]) GROUP BY 1"


@asynccontextmanager
async def disk_full(site: Site) -> AsyncIterator[None]:
    """Not a byte left where both servers keep their data, until there is room again and RabbitMQ is restarted.

    As disks fill: RabbitMQ's alarm comes first. A disk that is full at a blow, under load, may cut the file short that
    says how a quorum queue is started again (RabbitMQ 3.10). Raises SkippedError unless the folder is a disk
    of its own.
    """
    if not site.folder.is_mount():
        raise SkippedError("takes root, to mount a small file system")
    filler = site.folder / "filler"
    start = len(site.ledger.posts)
    try:
        await asyncio.to_thread(_fill, filler, NEARLY)
        await until(lambda: any(post.status == 503 for post in site.ledger.posts[start:]), what="the disk alarm")
        await asyncio.to_thread(_fill, filler, 0)
        yield
    finally:
        filler.unlink(missing_ok=True)
        if not single(site).postgres.alive:  # `crossdock up` does the same
            await single(site).postgres.restart()
        # RabbitMQ lives on without its write-ahead log, which gave up: it takes nothing until somebody restarts it.
        await single(site).rabbitmq.restart()


def _fill(file: Path, left: int) -> None:
    """Until that many bytes are left."""
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
    """The clock of all our processes jumps, and jumps back at the end. Raises SkippedError without libfaketime."""
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
    """One kind of process is a minute ahead, another a minute behind. Documents that change meanwhile must end with
    their newest content, and uStore must get its answers. Raises SkippedError without libfaketime."""
    changed = [*site.processes[ahead], *site.processes[behind]]
    try:
        await _restart(site.processes[ahead], _clock(site.folder / "clock-ahead", APART // 2))
        await _restart(site.processes[behind], _clock(site.folder / "clock-behind", -APART // 2))
        start = len(site.ledger.posts)
        documents = [site.load.fresh("channelape") for _ in range(CHANGING)]
        for number in range(VERSIONS):
            newest = [_revised(body, number) for body in documents]
            await site.load.post_all(newest, on_record=False)
        yield
        shoppers = [post for post in site.ledger.posts[start:] if post.body.platform == "ustore"]
        if late := sum(post.status is not None and not post.accepted for post in shoppers):
            site.unmet.append(f"{late} of {len(shoppers)} uStore orders were not answered in time")
        await _see_newest(site, newest)
    finally:
        await _restart(changed, {})


@asynccontextmanager
async def clock_stepped_back(site: Site) -> AsyncIterator[None]:
    """The ingress's clock is two minutes ahead, and is set right between two versions of the same documents. Raises
    SkippedError without libfaketime."""
    clock = site.folder / "clock"
    processes = site.processes["ingress"]
    database = await site.database()
    try:
        await _restart(processes, _clock(clock, APART))
        documents = [site.load.fresh("channelape") for _ in range(CHANGING)]
        keys = [body.key for body in documents]
        for number in range(VERSIONS):
            if number == VERSIONS - 1:
                # What is too far ahead is filed under the time when it is stored: the last version is to be later.
                before = partial(_have_versions, database, keys, VERSIONS - 1)
                await until(before, what="the versions of before the step")
                clock.write_text("+0\n")
                await asyncio.sleep(NOTICED)
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
    """The current event of each document is what was posted last."""
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
"""Of a site whose folder is a small disk."""
