"""CPU time and memory of processes, from /proc (by psutil)."""

import asyncio

import psutil

from bench.common import until

REST = 0.05
"""Share of a core below which a server counts as idle."""


def seconds(pid: int) -> float:
    """Return the CPU seconds of a process and all its descendants, including those that have ended."""
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it has just ended, so its parent accounts for it
        total += used.user + used.system + used.children_user + used.children_system
    return total


def resident(pid: int) -> float:
    """Return the resident memory of one process in megabytes."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


async def at_rest(pid: int) -> None:
    """Wait until a process has been idle for a second. Raises TimeoutError."""

    async def rests() -> bool:
        before = seconds(pid)
        await asyncio.sleep(1)
        return seconds(pid) - before < REST

    await until(rests, f"process {pid} at rest", pause=0)
