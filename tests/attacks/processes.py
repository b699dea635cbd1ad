"""Runs ingress and API as processes of their own, as in production, and observes them from outside."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil

from deploy.local import children
from tests.support.pipeline import until


class Process:
    """A running process of Crossdock."""

    def __init__(self, name: str, port: int, admin: str, log: Path, pid: int) -> None:
        self.name = name
        self.port = port
        self.admin = admin
        """Base URL of its admin port."""
        self.log = log
        self.pid = pid
        self._process = psutil.Process(pid)

    @property
    def resident(self) -> int:
        """Bytes of memory that are resident."""
        return int(self._process.memory_info().rss)

    @property
    def alive(self) -> bool:
        return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE

    async def get(self, path: str) -> str:
        """Return what its admin port answers."""
        async with aiohttp.ClientSession() as session, session.get(self.admin + path) as answer:
            return await answer.text()

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        total = 0.0
        for line in (await self.get("/metrics")).splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(f'{key}="{text}"' in sample for key, text in labels.items()):
                total += float(value)
        return total


@asynccontextmanager
async def running(name: str, *args: str, folder: Path, env: dict[str, str], config: Path) -> AsyncIterator[Process]:
    """Run `crossdock NAME ARGS`, ready, until the end of the block; its output goes to a log in `folder`."""
    port, admin = children.free_ports(2)
    listens = ["--port", str(port)] if name in ("ingress", "api") else []
    log = folder / f"{name}{'-'.join(args)}.log"
    command = [sys.executable, "-m", "deploy.cli.main", name, *args, "--config", str(config), *listens]
    command += ["--admin-port", str(admin)]
    child = children.spawn(command, env={"PATH": os.environ["PATH"], **env}, log=log)
    try:
        process = Process(name, port, f"http://127.0.0.1:{admin}", log, child.pid)

        async def ready() -> bool:
            assert child.poll() is None, log.read_text()
            try:
                return "not ready" not in await process.get("/readyz")
            except aiohttp.ClientError:
                return False

        await until(ready, what=f"{name} is ready", seconds=40)
        yield process
    finally:
        await children.end(child, signal.SIGTERM, 20)
