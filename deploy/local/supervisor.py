"""Keeps child processes running: starts them, restarts those that die, and stops them in order."""

import asyncio
import logging
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp
import msgspec

from deploy.local.children import end, exited, spawn

log = logging.getLogger("crossdock.supervisor")

RESTART_PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Seconds before a restart, by the number of consecutive early deaths of the child; the last value repeats."""
YOUNG = 10.0
"""Seconds of life after which a child is restarted at once."""
POLL = 0.1
"""Seconds between two checks whether the children are ready."""


class Child(msgspec.Struct, frozen=True):
    """A child process: `python -m MODULE ARGS`."""

    name: str
    args: tuple[str, ...]
    admin_port: int
    module: str = "deploy.cli.main"
    env: Mapping[str, str] | None = None
    """Its whole environment; by default the supervisor's."""

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"


class Supervisor:
    """Runs children until `stop`."""

    def __init__(
        self, children: list[Child], env: Mapping[str, str], logs: Path | None, changed: Callable[[], None]
    ) -> None:
        """`logs`: folder for one log file per child; None for our own output. `changed`: called when a PID changes."""
        self._children = list(children)
        self._env = dict(env)
        self._logs = logs
        self._changed = changed
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}

    @property
    def pids(self) -> dict[str, int]:
        """PIDs of the children that run now, by process name."""
        return {name: process.pid for name, process in self._running.items() if process.poll() is None}

    def start(self) -> None:
        """Start all children and keep them running."""
        for child in self._children:
            self._start(child)
        loop = asyncio.get_running_loop()
        self._keepers = {child.name: loop.create_task(self._keep(child)) for child in self._children}

    def add(self, child: Child) -> None:
        """Start another child and keep it running."""
        self._children.append(child)
        self._start(child)
        self._keepers[child.name] = asyncio.get_running_loop().create_task(self._keep(child))
        self._changed()

    async def remove(self, name: str, seconds: float) -> None:
        """Stop a child for good, drained within `seconds`."""
        self._children = [child for child in self._children if child.name != name]
        if keeper := self._keepers.pop(name, None):
            keeper.cancel()
        if process := self._running.pop(name, None):
            await end(process, signal.SIGTERM, seconds)
        self._changed()

    async def ready(self, seconds: float) -> list[str]:
        """Wait until every /readyz answers 200; return what is not ready after `seconds`, with the reasons."""
        until = time.monotonic() + seconds
        waiting = {child.name: "not reached yet" for child in self._children}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while waiting and time.monotonic() < until:
                for child in self._children:
                    if child.name in waiting:
                        try:
                            async with session.get(f"{child.admin}/readyz") as response:
                                if response.status == 200:
                                    del waiting[child.name]
                                else:
                                    waiting[child.name] = "; ".join((await response.json())["problems"])
                        except (aiohttp.ClientError, TimeoutError, OSError):
                            pass
                if waiting:
                    await asyncio.sleep(POLL)
        return [f"{name}: {why}" for name, why in waiting.items()]

    def signal(self, sign: int) -> None:
        """Send a signal to all children."""
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(sign)

    async def stop(self, seconds: float, *, at_once: bool = False) -> None:
        """Stop all children within about `seconds`: drained one after the other in their order, or all `at_once`."""
        for keeper in self._keepers.values():
            keeper.cancel()
        if at_once:
            self.signal(signal.SIGTERM)
        until = time.monotonic() + seconds
        for child in self._children:
            process = self._running.get(child.name)
            if process is not None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                await exited(process, max(0.5, (until - time.monotonic()) / 2))
        for process in self._running.values():
            await end(process, signal.SIGTERM, max(0.1, until - time.monotonic()))

    def _start(self, child: Child) -> None:
        command = [sys.executable, "-m", child.module, *child.args, "--admin-port", str(child.admin_port)]
        log_file = self._logs / f"{child.name}.log" if self._logs else None
        self._running[child.name] = spawn(command, env=self._env if child.env is None else child.env, log=log_file)

    async def _keep(self, child: Child) -> None:
        deaths = 0
        while True:
            process = self._running[child.name]
            started = time.monotonic()
            await exited(process, math.inf)
            deaths = deaths + 1 if time.monotonic() - started < YOUNG else 0
            log.warning("process ended, starting it again", extra={"child": child.name, "code": process.returncode})
            await asyncio.sleep(RESTART_PAUSES[min(deaths, len(RESTART_PAUSES) - 1)])
            self._start(child)
            self._changed()
