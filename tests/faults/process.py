"""One process of the pipeline, kept running as `crossdock up` does it."""

import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp

from deploy.local.children import free_ports
from deploy.local.supervisor import Child, Supervisor
from tests.support.pipeline import until

READY_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0
MUTANT = "tests.faults.mutant"
"""The module that starts a process without one of its safeguards."""


class Process:
    """Starts a process, starts it again whenever it dies, and sends it signals."""

    def __init__(
        self, name: str, args: tuple[str, ...], env: Mapping[str, str], logs: Path, mutant: str | None
    ) -> None:
        """`mutant`: the safeguard that is left out (`tests.faults.mutant`); None: none."""
        self.name = name
        admin = free_ports(1)[0]
        if mutant is None:
            self._child = Child(name, args, admin)
        else:
            self._child = Child(name, (mutant, *args), admin, MUTANT)
        self._env = dict(env)
        self._logs = logs
        self._supervisor: Supervisor | None = None

    @property
    def pid(self) -> int:
        """The process id, or 0 while no process runs."""
        return self._supervisor.pids.get(self.name, 0) if self._supervisor is not None else 0

    async def start(self, **more: str) -> None:
        """Start the process and wait until it is ready. `more`: for its environment. Raises TimeoutError."""
        self.begin(**more)
        await self.ready()

    def begin(self, **more: str) -> None:
        """Start the process without waiting until it is ready. `more`: for its environment."""
        self._supervisor = Supervisor([self._child], {**self._env, **more}, self._logs, lambda: None)
        self._supervisor.start()

    async def replaced(self, pid: int) -> None:
        """Wait until another process than `pid` runs and answers at its admin port. Raises AssertionError."""
        await until(lambda: self.pid not in (0, pid), what=f"another {self.name}")
        await until(self._answers, what=f"{self.name} to answer")

    async def _answers(self) -> bool:
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session,
                session.get(f"{self._child.admin}/healthz") as answer,
            ):
                return answer.status == 200
        return False

    async def ready(self) -> None:
        """Wait until the process can do its work. Raises TimeoutError with its problems."""
        assert self._supervisor is not None
        if problems := await self._supervisor.ready(READY_TIMEOUT):
            raise TimeoutError("; ".join(problems))

    async def stop(self) -> None:
        """Stop the process as a service manager does: with SIGTERM, and SIGKILL if that takes too long."""
        if self._supervisor is not None:
            self.send(signal.SIGCONT)
            await self._supervisor.stop(STOP_TIMEOUT)

    def send(self, sign: int) -> None:
        """Send a signal, if the process lives."""
        if self._supervisor is not None:
            self._supervisor.signal(sign)
