"""`crossdock ingress` with `[ingress] processes` above 1: several supervised processes on one port."""

import asyncio
import os
import signal
from pathlib import Path

from deploy import config as configuration
from deploy.local.children import free_ports
from deploy.local.supervisor import Child, Supervisor
from deploy.process import CLOSE_TIMEOUT

MARGIN = 2.0
"""Seconds beyond the time that each process takes to stop by itself, before it is killed."""


def run_many(config: Path | None, port: int | None, admin_port: int | None, count: int) -> int:
    """Run `count` processes until SIGTERM or SIGINT; return the exit code.

    SIGHUP is passed on. The admin ports count up from the given one.
    """
    loaded = configuration.load(config, process="ingress")
    chosen = loaded.ingress.port if port is None else port
    first = loaded.admin.port if admin_port is None else admin_port
    admins = free_ports(count) if first == 0 else [first + n for n in range(count)]
    path = ("--config", str(config)) if config else ()
    args = ("ingress", *path, "--port", str(chosen or free_ports(1)[0]), "--one-of-many")
    children = [Child(f"ingress-{n + 1}", args, admins[n]) for n in range(count)]
    bound = loaded.process.drain_timeout + CLOSE_TIMEOUT + MARGIN
    asyncio.run(_run(Supervisor(children, os.environ, None, lambda: None), bound))
    return 0


async def _run(supervisor: Supervisor, bound: float) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: supervisor.signal(signal.SIGHUP))
    supervisor.start()
    await ended.wait()
    await supervisor.stop(bound, at_once=True)
