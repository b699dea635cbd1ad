"""The machine itself: a full disk, a clock that jumps."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from tests.faults.catalogue.servers import single
from tests.faults.site import Site
from tests.faults.trial import Fault, Skipped
from tests.pipeline import until

LIBFAKETIME = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
)
"""Where Debian and Ubuntu keep it; LIBFAKETIME in the environment names another place."""
NEARLY = 30 << 20
"""Bytes: less than RabbitMQ's limit here (`deploy.local.rabbitmq`), enough for what it has in hand."""
JUMP = 1800
"""Seconds: more than any lease, deadline or time-out."""


@asynccontextmanager
async def disk_full(site: Site) -> AsyncIterator[None]:
    """Not a byte left where both servers keep their data, until there is room again and RabbitMQ is restarted.

    As disks fill: RabbitMQ's alarm comes first. A disk that is full at a blow, under load, may cut the file short that
    says how a quorum queue is started again (RabbitMQ 3.10). Raises Skipped where the folder isn't a disk of its own.
    """
    if not site.folder.is_mount():
        raise Skipped("takes root, to mount a small file system")
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
    """The clock of all our processes jumps, and jumps back at the end. Raises Skipped without libfaketime."""
    library = next(filter(os.path.exists, (os.environ.get("LIBFAKETIME", ""), *LIBFAKETIME)), None)
    if library is None:
        raise Skipped("libfaketime is not installed: apt-get install libfaketime")
    clock = site.folder / "clock"
    clock.write_text("+0\n")
    more = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    await _restart(site, more)
    try:
        clock.write_text(f"{seconds:+d}\n")
        yield
        clock.write_text("+0\n")
    finally:
        await _restart(site, {})


async def _restart(site: Site, more: dict[str, str]) -> None:
    for process in site.all:
        await process.stop()
        await process.start(**more)


FAULTS = (
    Fault("clock half an hour ahead", partial(clock_jumped, seconds=JUMP), 5.0),
    Fault("clock half an hour back", partial(clock_jumped, seconds=-JUMP), 5.0),
)
FULL = (Fault("disk full", disk_full, 4.0),)
"""Of a site whose folder is a small disk."""
