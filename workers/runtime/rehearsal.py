"""Finds the message that ends its worker, without ending the worker.

Messages that are redelivered after an unclean end (a crash in a C library, a kill because memory ran out, a loop of
minutes) are first read by a forked copy of this process, one after the other. The copy reports which message it begins.
If it dies, that message is tried again, alone, in further copies. Only a message that ends three copies of its own is
to blame, and only if another message survives the same treatment. Nothing else is proof: neither the broker's delivery
count, which increases for every message that a lost connection held, nor the death of a worker, which may have any
cause.

A copy takes some milliseconds, and only for redelivered messages.
"""

import asyncio
import gc
import logging
import os
import resource
import signal
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from weakref import WeakKeyDictionary

from workers.runtime import watchdog
from workers.runtime.outcomes import UnavailableError

log = logging.getLogger("crossdock.worker")

TRIES = 3
"""Number of copies that a message must end, alone, before it is to blame."""
PAUSES = (0.0, 0.5, 1.0)
"""Seconds before each of these copies, in which a passing problem of the machine may end."""
WALL_LIMIT = 60.0
"""Maximum seconds for one message, for code that waits and therefore uses no processor time."""
MEMORY = 1024**3
"""Maximum bytes that a copy may allocate in addition to the memory of this process.

It is at most half of the memory that is left in the container. The largest message takes a tenth of it.
"""
KILLED = "signal SIGKILL"
OUT_OF_MEMORY = 77
"""Exit code of a copy that reached its limit of memory."""

_MOST_FILES = 1 << 20

Work = Callable[[int], object]
"""Reads the message with the given index as the handler will; exceptions are left to the handler."""


async def find_suspects(count: int, work: Work) -> dict[int, str]:
    """Return the indexes of the messages that were being read when a copy ended, each with how the copy ended.

    All other messages were read. Raises UnavailableError if no copy can be made.
    """
    suspects: dict[int, str] = {}
    left = list(range(count))
    while left:
        ended_by, why = await _run(left, work)
        if ended_by is None:
            break
        suspects[ended_by] = why
        left = left[left.index(ended_by) + 1 :]
    return suspects


async def convict(index: int, why: str, work: Work, *, control: Callable[[], object]) -> str | None:
    """Return the reason if a message ends every copy that reads it alone; None if one of the copies reads it.

    `why` describes how the first copy ended. `control` reads a message that is known to be harmless. Raises
    UnavailableError if the copy that reads the control message ends too.
    """
    for pause in PAUSES:
        await asyncio.sleep(pause)
        ended_by, ending = await _run([index], work)
        if ended_by is None:
            log.warning("a message was read after all", extra={"first": why})
            return None
        if ending == KILLED:
            # The kernel did it because memory ran out, or a person did; no message can. A message that takes too much
            # memory reaches the limit of its copy first.
            raise UnavailableError(f"a message cannot be read here now: {ending}")
        why = ending
    ended_by, ending = await _run([index], lambda _: control())
    if ended_by is not None:
        raise UnavailableError(f"no message can be read here: {ending}")
    return f"it ended the process that read it, {TRIES} times of {TRIES}: {why}"


async def _run(indexes: Sequence[int], work: Work) -> tuple[int | None, str]:
    """Read messages in a copy of this process, one copy at a time.

    Return the index of the message that ended the copy, or None if all were read, and a description of its end.
    """
    loop = asyncio.get_running_loop()
    async with _locks.setdefault(loop, asyncio.Lock()):
        return await _run_alone(indexes, work)


_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def _run_alone(indexes: Sequence[int], work: Work) -> tuple[int | None, str]:
    try:
        reader, writer = os.pipe()
    except OSError as error:
        raise UnavailableError(f"no pipe: {error.strerror}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # there are threads, but the copy takes none of their locks
            pid = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        raise UnavailableError(f"no copy of this process: {error.strerror}") from error
    if pid == 0:
        _copy(writer, indexes, work)
    os.close(writer)
    try:
        begun, hung = await _follow(reader)
    finally:
        os.close(reader)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # unless it has ended
        _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - it has ended, or was just killed
    if begun == len(indexes):
        return None, ""
    return indexes[max(begun, 0)], "it took too long" if hung else _describe(status)


async def _follow(reader: int) -> tuple[int, bool]:
    """Wait for the end of the copy; return the position of the message that it was reading, and whether it hung.

    The position is the number of messages if all of them were read.
    """
    loop = asyncio.get_running_loop()
    os.set_blocking(reader, False)
    position, readable = -1, asyncio.Event()
    loop.add_reader(reader, readable.set)
    try:
        while True:
            async with asyncio.timeout(WALL_LIMIT):
                await readable.wait()
            readable.clear()
            with suppress(BlockingIOError):
                if not (begun := os.read(reader, 65536)):
                    return position, False
                position += len(begun)
    except TimeoutError:
        return position, True
    finally:
        loop.remove_reader(reader)


def _copy(writer: int, indexes: Sequence[int], work: Work) -> NoReturn:
    """Run in the copy: write one byte before each message, and one at the end."""
    try:
        gc.freeze()  # a collection would touch all of the memory that is shared with the worker
        gc.disable()
        os.closerange(3, writer)  # connections stay with the worker, however this copy ends
        os.closerange(writer + 1, _MOST_FILES)
        signal.set_wakeup_fd(-1)
        signal.setitimer(signal.ITIMER_REAL, WALL_LIMIT * (len(indexes) + 1))
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
            signal.signal(name, signal.SIG_DFL)
        _limit_memory()
        for index in indexes:
            os.write(writer, b".")
            watchdog.arm()
            try:
                work(index)
            except MemoryError:
                os._exit(OUT_OF_MEMORY)
            except Exception:  # noqa: S110 - the handler will get it again, and handle it
                pass
        os.write(writer, b".")
    finally:
        os._exit(0)  # without closing the loop, connections or buffers, which belong to the worker


def _limit_memory() -> None:
    """Limit the memory of this process, and let the kernel end it first if memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + min(MEMORY, _left_in_container() // 2)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _left_in_container() -> int:
    """Return the bytes that are left in the container (cgroup version 2); twice MEMORY if it has no limit."""
    try:
        folder = Path("/sys/fs/cgroup")
        maximum = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = (folder / "memory.current").read_text(encoding="ascii").strip()
        return max(0, int(maximum) - int(used))
    except (OSError, ValueError):
        return 2 * MEMORY


def _describe(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGPROF:
            return f"it took more than {watchdog.LIMIT:.0f} seconds of processor time"
        return f"signal {signal.Signals(number).name}"
    if os.waitstatus_to_exitcode(status) == OUT_OF_MEMORY:
        return "it took more memory than there is for a message"
    return f"exit code {os.waitstatus_to_exitcode(status)}"
