"""Starts `crossdock up` on one state folder again and again, ending it by SIGTERM or by killing everything.

`python -m tests.restarts 50` does it fifty times and prints the seconds of each start; a test does it five times.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiormq
import orjson

from schemas import topology
from schemas.consumers import Consumer
from tests.support.shell import ROOT

PASSED_ON = ("AMQP_URL", "CROSSDOCK_RABBITMQ_SERVER", "DATABASE_URL", "TMPDIR")
"""Variables of the environment that `crossdock up` gets too."""
READY_TIMEOUT = 150.0
"""Seconds for one start, on a loaded machine."""
CONSUMER = Consumer(name="restarts", types=["*"], accounts=["*"])


class StartFailedError(Exception):
    """`up` ended, or was not ready in time; holds what it wrote."""


class Running:
    """One `crossdock up` that is ready."""

    def __init__(self, process: asyncio.subprocess.Process, state: Path, seconds: float, lines: list[str]) -> None:
        """`lines`: what it has printed so far."""
        self.process = process
        self.lines = lines
        self.seconds = seconds
        self.endpoints = read(state)

    async def terminate(self) -> int:
        """SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode

    async def kill_everything(self) -> None:
        """SIGKILL for `up` and every process it started, the servers too."""
        pids = [self.process.pid, *self.endpoints["pids"].values()]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.process.communicate()


def read(state: Path) -> dict[str, Any]:
    """What a running `up` says of itself."""
    endpoints: dict[str, Any] = orjson.loads((state / "endpoints.json").read_bytes())
    return endpoints


async def start(state: Path, env: dict[str, str], *args: str) -> Running:
    """Start `crossdock up` and wait for `ready`. Raises StartFailedError."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.cli.main", "up", "--state", str(state), "--port", "0", *args,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env}, cwd=state.parent,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            while line := (await process.stdout.readline()).decode():
                lines.append(line)
                if line == "ready\n":
                    return Running(process, state, time.monotonic() - began, lines)
            _, err = await process.communicate()
    except TimeoutError:
        process.send_signal(signal.SIGTERM)
        out, err = await process.communicate()
        lines.append(out.decode())
    raise StartFailedError(f"exit code {process.returncode}: {''.join(lines)}{err.decode()[-2000:]}")


async def fill(url: str, count: int) -> None:
    """Put messages into every queue of ours, whole and confirmed; no worker can read them."""
    connection = await aiormq.connect(url)
    try:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        names = [queue.name for queue in topology.topology().queues]
        for name in (*names, CONSUMER.queue):
            for n in range(count):
                properties = aiormq.spec.Basic.Properties(delivery_mode=2, message_id=f"{name}-{n}")
                await channel.basic_publish(b"{}", routing_key=name, properties=properties, mandatory=True)
    finally:
        await connection.close()


async def repeat(state: Path, ends: Sequence[str], env: dict[str, str], *args: str) -> list[float]:
    """Start once for each of `ends` ("TERM" or "KILL"); return the seconds that each start took."""
    from broker import consumers

    seconds = []
    for n, end in enumerate(ends):
        running = await start(state, env, *args)
        seconds.append(running.seconds)
        if n == 0:
            await consumers.add(running.endpoints["amqp"], CONSUMER)
        await fill(running.endpoints["amqp"], 5)
        if end == "KILL":
            await running.kill_everything()
        else:
            assert await running.terminate() == 0
    return seconds


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--state", type=Path)
    options = parser.parse_args()
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="crossdock-restarts-", ignore_cleanup_errors=True) as folder:
        state = options.state or Path(folder) / "state"
        ends = ["KILL" if n % 2 else "TERM" for n in range(options.count)]
        seconds = asyncio.run(repeat(state, ends, env))
    print(" ".join(f"{duration:.1f}" for duration in seconds))  # noqa: T201
    print(f"{len(seconds)} starts, {min(seconds):.1f} to {max(seconds):.1f} s")  # noqa: T201


if __name__ == "__main__":
    main()
