"""Starts and ends child processes: none of them outlives this process, and no other process is touched."""

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
"""Ports that `free_ports` has returned; their users may not listen on them yet."""
_PR_SET_PDEATHSIG = 1


class StartError(Exception):
    """A server or process cannot be started; the text is one line that says what to do."""


def free_ports(count: int) -> list[int]:
    """Return different free ports of 127.0.0.1. Raises StartError.

    They are outside the range of outgoing connections, so that the port of a server that died is free when it restarts.
    """
    bound: dict[int, socket.socket] = {}
    try:
        left = [port for port in PORTS if port not in _given]
        for port in random.sample(left, len(left)):
            if len(bound) == count:
                _given.update(bound)
                return list(bound)
            probe = socket.socket()
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.close()
            else:
                bound[port] = probe
        raise StartError("no free ports are left on 127.0.0.1")
    finally:
        for probe in bound.values():
            probe.close()


def _ends_with_us(sign: int, parent: int) -> Callable[[], None] | None:
    """Return a function for the child to run: Linux then signals the child when its parent dies, however it died."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def request_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, sign, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), sign)

    return request_signal


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
    """Start a child in its own process group.

    `log`: file that its output is appended to; None for the output of this process. `user`: numeric id to run as, for
    servers that refuse to run as root. `death`: signal that it gets when this process dies.
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
    """Create a folder that only this user may enter; close an existing one of this user to others, not its parents."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.stat()
    if status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX:
        path.chmod(0o700)


def write_private(file: Path, content: bytes) -> None:
    """Write a file that only this user may read."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.fchmod(handle, 0o600)
        os.write(handle, content)
    finally:
        os.close(handle)


def _private(path: str, flags: int) -> int:
    """Open a log that only this user may read, as an opener of `open`; an existing one is closed to others too."""
    handle = os.open(path, flags, 0o600)
    if os.fstat(handle).st_uid == os.geteuid():
        os.fchmod(handle, 0o600)
    return handle


async def exited(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait at most `seconds` for a child to end, without polling if the system supports it; return whether it has."""
    until = time.monotonic() + seconds
    if process.poll() is None and hasattr(os, "pidfd_open"):
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        pidfd = os.pidfd_open(process.pid)
        loop.add_reader(pidfd, ended.set)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if seconds == math.inf else seconds):
                    await ended.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
    while process.poll() is None:
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(0.02)
    return True


async def end(process: subprocess.Popen[bytes], sign: int, seconds: float) -> None:
    """Send the signal `sign` to a child, wait, then kill it and what is left in its process group."""
    if process.poll() is None:
        process.send_signal(sign)
        await exited(process, seconds)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await exited(process, 5)


def end_stale(pid: int, mark: str, sign: int, seconds: float) -> None:
    """End a process that an earlier run left behind: `pid`, if its command line still contains `mark`."""
    import psutil  # a dependency of the embedded PostgreSQL; containers have neither

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
    """Return the last lines of a log on one line, for an error."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return "no log was written"
    return " | ".join(line.strip() for line in text.splitlines() if line.strip()[:1] not in ("", "{"))[-300 * lines :]
