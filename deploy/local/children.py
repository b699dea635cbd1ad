"""Starting and ending the processes that are ours: none outlives us, none that isn't ours is touched."""

import asyncio
import ctypes
import math
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

PORTS = range(15_000, 32_768)
"""Below what Linux (from 32,768) and macOS (from 49,152) give to outgoing connections."""
_given: set[int] = set()
"""Those that this process has given away: who got one may not listen on it yet."""
_PR_SET_PDEATHSIG = 1


class StartError(Exception):
    """A server or process of ours can't be started; one line that says what to do."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, all different, and out of the way of outgoing connections: a
    server that died finds its port free again. Raises StartError."""
    found: dict[int, socket.socket] = {}
    try:
        left = [port for port in PORTS if port not in _given]
        for port in random.sample(left, len(left)):
            if len(found) == count:
                _given.update(found)
                return list(found)
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                one.close()
            else:
                found[port] = one
        raise StartError("no free ports are left on 127.0.0.1")
    finally:
        for one in found.values():
            one.close()


def _ends_with_us(sign: int, parent: int) -> Callable[[], None] | None:
    """Linux tells the child when its parent is gone, however that died."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, sign, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), sign)

    return ask


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path | None,
    user: int | None = None,
    death: int = signal.SIGTERM,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """A child in a process group of its own, its output appended to `log` (None: ours); gets `death` when we die.

    `user`: numeric id to run as, for servers that refuse to be root.
    """
    if log is not None:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    as_user = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    with open(log, "ab", opener=_private) if log is not None else nullcontext() as out:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            list(command),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT if out is not None else None,
            start_new_session=True,
            preexec_fn=_ends_with_us(death, os.getpid()),
            cwd=cwd,
            pass_fds=pass_fds,
            **as_user,
        )


def private_folder(path: Path) -> None:
    """Create a folder that only we may enter; an existing one of ours is closed to others, its parents never."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.stat()
    if found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX:
        path.chmod(0o700)


def _private(path: str, flags: int) -> int:
    """An opener: a log holds what others need not read. An older one is closed to them too."""
    handle = os.open(path, flags, 0o600)
    if os.fstat(handle).st_uid == os.geteuid():
        os.fchmod(handle, 0o600)
    return handle


async def exited(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits for the end of a child, at most `seconds`: without looking again and again, where the system tells."""
    until = time.monotonic() + seconds
    if process.poll() is None and hasattr(os, "pidfd_open"):
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        told = os.pidfd_open(process.pid)
        loop.add_reader(told, ended.set)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if seconds == math.inf else seconds):
                    await ended.wait()
        finally:
            loop.remove_reader(told)
            os.close(told)
    while process.poll() is None:
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(0.02)
    return True


async def end(process: subprocess.Popen[bytes], sign: int, seconds: float) -> None:
    """Asks with `sign`, waits, then kills: the child and whatever it left in its process group."""
    if process.poll() is None:
        process.send_signal(sign)
        await exited(process, seconds)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await exited(process, 5)


def end_stale(pid: int, mark: str, sign: int, seconds: float) -> None:
    """Ends what an earlier run left behind: `pid`, if its command line still holds `mark`."""
    import psutil  # comes with the embedded PostgreSQL; containers supervise without either

    try:
        process = psutil.Process(pid)
        if not any(mark in word for word in process.cmdline()):
            return
        process.send_signal(sign)
        process.wait(seconds)
    except psutil.TimeoutExpired:
        process.kill()
        with suppress(psutil.TimeoutExpired):
            process.wait(5)
    except psutil.Error:
        return


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log on one line, for an error."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return "no log was written"
    return " | ".join(line.strip() for line in text.splitlines() if line.strip()[:1] not in ("", "{"))[-300 * lines :]
