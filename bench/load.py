"""Load on a URL: by wrk where it is installed, else by processes of our own client."""

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
"""Seconds for an answer of wrk's: later than that it is none. Its own 2 seconds are what a stalled disk takes."""
GRACE = 60.0
"""Seconds beyond the time asked for, after which a generator is ended."""
busiest = 0.0
"""Share of a core that the generator took in the run where it took most of one."""


def generator() -> str:
    """Which one is used."""
    return "wrk, one thread" if shutil.which("wrk") else f"a client of our own, {_processes()} processes"


def run(url: str, headers: dict[str, str], body: bytes, *, connections: int, seconds: int) -> Load:
    """Posts the same body over and over, as fast as answers come. Blocks. Raises SubprocessError."""
    global busiest
    posted = (_wrk if shutil.which("wrk") else _own)(url, headers, body, connections, seconds)
    busiest = max(busiest, posted.generator_cpu)
    return posted


def _own(url: str, headers: dict[str, str], body: bytes, connections: int, seconds: int) -> Load:
    count = _processes()
    order = Order(url, headers, body.decode(), max(1, connections // count), seconds)
    with ThreadPoolExecutor(count) as threads:
        found = list(threads.map(post, [order] * count))
    return Load(
        sum(one.done for one in found),
        sum(one.failed for one in found),
        max(one.seconds for one in found),
        max(one.generator_cpu for one in found),
    )


def post(order: Order) -> Load:
    """Our own client, one process: what wrk can't do, other bodies and a rate. Blocks. Raises SubprocessError."""
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
        said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, timeout=seconds + GRACE).stdout
        share = (_children() - before) / (time.perf_counter() - started)
    requests, microseconds, failed = map(int, said.strip().splitlines()[-1].split())
    return Load(requests, failed, microseconds / 1e6, share)


def _children() -> float:
    """CPU seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
