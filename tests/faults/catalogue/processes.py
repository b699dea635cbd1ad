"""Our processes that are killed, stopped, restarted or reloaded."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from tests.faults.site import KINDS, Site, settings
from tests.faults.trial import Fault
from tests.support.pipeline import until


@asynccontextmanager
async def killed(site: Site, kind: str) -> AsyncIterator[None]:
    """SIGKILL to every process of a kind, each of which is started again."""
    await _replaced(site, kind, signal.SIGKILL)
    yield


@asynccontextmanager
async def restarted(site: Site, kind: str) -> AsyncIterator[None]:
    """SIGTERM to every process of a kind, as when a new release is rolled out."""
    await _replaced(site, kind, signal.SIGTERM)
    yield


@asynccontextmanager
async def stopped(site: Site, kind: str) -> AsyncIterator[None]:
    """SIGSTOP to every process of a kind, and SIGCONT at the end."""
    for process in site.processes[kind]:
        process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in site.processes[kind]:
            process.send(signal.SIGCONT)


@asynccontextmanager
async def reloaded(site: Site) -> AsyncIterator[None]:
    """SIGHUP to all processes: with another configuration, with one that is invalid, and with the first again."""
    first = site.config_file.read_text()
    try:
        for text in (settings(site.port, retries=300), "[delivery]\nno such setting = true\n"):
            site.config_file.write_text(text)
            for process in site.all:
                process.send(signal.SIGHUP)
            await asyncio.sleep(1)  # under load by each
        yield
    finally:
        site.config_file.write_text(first)
        for process in site.all:
            process.send(signal.SIGHUP)


async def _replaced(site: Site, kind: str, sign: int) -> None:
    """Send the signal, and wait until each process is replaced by another."""
    before = {process.name: process.pid for process in site.processes[kind]}
    for process in site.processes[kind]:
        process.send(sign)
    await until(
        lambda: all(process.pid not in (0, before[process.name]) for process in site.processes[kind]),
        what=f"the successors of {', '.join(before)}",
    )


FAULTS = (
    *(Fault(f"SIGKILL of {kind}", partial(killed, kind=kind), 0.0) for kind in KINDS),
    *(Fault(f"SIGSTOP of {kind}, SIGCONT", partial(stopped, kind=kind), 4.0) for kind in KINDS),
    *(Fault(f"SIGTERM restart of {kind}", partial(restarted, kind=kind), 0.0) for kind in KINDS),
    Fault("SIGHUP of all: new, broken and old configuration", reloaded, 1.0),
)
