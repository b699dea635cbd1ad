"""Load on a URL: by wrk if it is installed, else by processes of our own client."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec

from bench.client import Load, Order

TIMEOUT = 10
"""Seconds after which wrk counts an answer as missing; its default of 2 seconds is as long as a stalled disk takes."""
GRACE = 60.0
"""Seconds beyond the requested time after which a generator is ended."""
busiest = 0.0
"""The largest share of a core that the generator took in any run."""


def generator() -> str:
    """Return the name of the generator that is used."""
    return "wrk, one thread" if shutil.which("wrk") else f"a client of our own, {_processes()} processes"


def run(url: str, headers: dict[str, str], body: bytes, *, connections: int, seconds: int) -> Load:
    """Post the same body repeatedly, as fast as answers arrive. Blocks. Raises SubprocessError."""
    global busiest
    posted = (_wrk if shutil.which("wrk") else _own)(url, headers, body, connections, seconds)
    busiest = max(busiest, posted.generator_cpu)
    return posted


def _own(url: str, headers: dict[str, str], body: bytes, connections: int, seconds: int) -> Load:
    count = _processes()
    order = Order(url, headers, body.decode(), max(1, connections // count), seconds)
    with ThreadPoolExecutor(count) as threads:
        loads = list(threads.map(post, [order] * count))
    return Load(
        sum(load.done for load in loads),
        sum(load.failed for load in loads),
        max(load.seconds for load in loads),
        max(load.generator_cpu for load in loads),
    )


def post(order: Order) -> Load:
    """Run one process of our own client, which unlike wrk supports different bodies and a rate. Blocks.

    Raises SubprocessError.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.client"],
        input=msgspec.json.encode(order),
        stdout=subprocess.PIPE,
        check=True,
        timeout=order.seconds + GRACE,
    )
    return msgspec.json.decode(done.stdout, type=Load)


def _processes() -> int:
    return os.cpu_count() or 1


def _wrk(url: str, headers: dict[str, str], body: bytes, connections: int, seconds: int) -> Load:
    lines = ['wrk.method = "POST"', f"wrk.body = {json.dumps(body.decode())}"]
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()]
    lines.append(
        'done = function(s) io.write(string.format("%d %d %d\\n", s.requests, s.duration, '
        "s.errors.status + s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout)) end"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("\n".join(lines))
        script.flush()
        command = [
            "wrk",
            "-t1",
            "--timeout",
            f"{TIMEOUT}s",
            f"-c{connections}",
            f"-d{seconds}s",
            "-s",
            script.name,
            url,
        ]
        started, before = time.perf_counter(), _children()
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, timeout=seconds + GRACE).stdout
        share = (_children() - before) / (time.perf_counter() - started)
    requests, microseconds, failed = map(int, output.strip().splitlines()[-1].split())
    return Load(requests, failed, microseconds / 1e6, share)


def _children() -> float:
    """Return the CPU seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
