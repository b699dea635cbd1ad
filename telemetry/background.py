"""Supervised background tasks: one that dies is logged, makes `/readyz` fail, and ends the process.

If the exception of a task is never retrieved, the process seems healthy and does only half of its work. The process is
therefore ended: its supervisor starts it again, and nothing that it held was acknowledged.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterable

log = logging.getLogger("crossdock.process")

CANCEL_AGAIN = 0.5
"""Seconds after which a task that has not ended is cancelled once more."""


def end_process() -> None:
    """Stop this process as its supervisor would, with SIGTERM; it drains and ends with exit code 1."""
    global failed
    failed = True
    os.kill(os.getpid(), signal.SIGTERM)


failed = False
"""Whether the process ends because one of its background tasks died; then its exit code is 1."""


async def drain(tasks: "Iterable[asyncio.Task[None]]", timeout: float) -> None:
    """Wait at most `timeout` seconds for tasks to end; cancel those that have not, and wait for their end."""
    running = list(tasks)
    if not running:
        return
    _, late = await asyncio.wait(running, timeout=timeout)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


class Background:
    """The long-lived tasks of one component, started together and stopped together."""

    def __init__(self, *, on_death: Callable[[], None] = end_process) -> None:
        """Create an empty group; `on_death`, which by default ends the process, is called when the first task dies."""
        self._on_death = on_death
        self._tasks: set[asyncio.Task[None]] = set()
        self._problems: list[str] = []
        self._is_stopping = False

    def start(self, coroutine: Coroutine[object, None, None], *, name: str) -> asyncio.Task[None]:
        """Run a coroutine that does not end before it is cancelled; `name` appears in logs and in `/readyz`."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def expect_end(self, task: "asyncio.Task[None]") -> None:
        """Exclude a task from supervision, because its owner is about to cancel it."""
        self._tasks.discard(task)
        task.remove_done_callback(self._ended)

    def problems(self) -> list[str]:
        """Return one line per task that died; an empty list while all of them run."""
        return list(self._problems)

    async def stop(self) -> None:
        """Cancel all tasks and wait for their end."""
        self._is_stopping = True
        left = set(self._tasks)
        while left:
            for task in left:
                task.cancel()
            # Before Python 3.12, `asyncio.wait_for` may swallow a cancellation, so that another one is needed.
            _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if self._is_stopping:
            return
        error = None if task.cancelled() else task.exception()
        # A library may cancel the task that waits for it, which ends the task just as an error does.
        why = f"{type(error).__name__}: {error}" if error else "it was cancelled" if task.cancelled() else "it returned"
        log.error("background task died", extra={"task": task.get_name(), "error": why}, exc_info=error)
        first = not self._problems
        self._problems.append(f"the task {task.get_name()} died ({why})")
        if first:
            self._on_death()
