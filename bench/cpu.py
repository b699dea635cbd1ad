"""CPU time and memory of processes, as /proc has them (by psutil)."""

import asyncio

import psutil

from bench.common import until

REST = 0.05
"""Share of a core below which a server has done what it was asked for."""


def seconds(pid: int) -> float:
    """CPU seconds of a process and of all below it, those that have ended included."""
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it has just ended: its parent has it
        total += used.user + used.system + used.children_user + used.children_system
    return total


def resident(pid: int) -> float:
    """Megabytes of memory of one process that are in RAM."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


async def at_rest(pid: int) -> None:
    """Returns when a process has hardly worked for a second. Raises TimeoutError."""

    async def rests() -> bool:
        before = seconds(pid)
        await asyncio.sleep(1)
        return seconds(pid) - before < REST

    await until(rests, f"process {pid} at rest", pause=0)
