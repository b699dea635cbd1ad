"""The machine itself: a full disk, a clock that jumps."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from tests.faults.catalogue.servers import single
from tests.faults.site import Site
from tests.faults.trial import Fault, Skipped

LIBFAKETIME = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
)
"""Where Debian and Ubuntu keep it; LIBFAKETIME in the environment names another place."""
JUMP = 1800
"""Seconds: more than any lease, deadline or time-out."""


@asynccontextmanager
async def disk_full(site: Site) -> AsyncIterator[None]:
    """Not a byte left where both servers keep their data, until there is room again and RabbitMQ is restarted.

    Raises Skipped where that isn't a disk of its own.
    """
    if not site.folder.is_mount():
        raise Skipped("takes root, to mount a small file system")
    filler = site.folder / "filler"
    try:
        await asyncio.to_thread(_fill, filler)
        yield
    finally:
        filler.unlink(missing_ok=True)
        if not single(site).postgres.alive:  # `crossdock up` does the same
            await single(site).postgres.restart()
        # RabbitMQ lives on without its write-ahead log, which gave up: it takes nothing until somebody restarts it.
        await single(site).rabbitmq.restart()


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as out, suppress(OSError):
        while True:
            out.write(bytes(1 << 20))
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
