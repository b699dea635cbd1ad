"""The load generators: wrk where it is installed, else one of our own in a process of its own."""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time

import aiohttp
import msgspec
import uvloop


class Load(msgspec.Struct, frozen=True):
    """What came of some seconds of posting."""

    per_second: float
    failed: int
    """Answers that were not 2xx, and errors."""


def generator() -> str:
    """Which one is used."""
    return "wrk" if shutil.which("wrk") else "a client of our own (aiohttp, one process)"


def run(url: str, headers: dict[str, str], body: bytes, *, connections: int, seconds: int) -> Load:
    """Posts the same body over and over. Blocks."""
    if shutil.which("wrk"):
        return _wrk(url, headers, body, connections, seconds)
    plan = {"url": url, "headers": headers, "body": body.decode(), "connections": connections, "seconds": seconds}
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"], input=json.dumps(plan).encode(), stdout=subprocess.PIPE, check=True
    )
    return msgspec.json.decode(done.stdout, type=Load)


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
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name, url]
        said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    requests, microseconds, failed = map(int, said.strip().splitlines()[-1].split())
    return Load(requests / (microseconds / 1e6), failed)


async def _own(url: str, headers: dict[str, str], body: bytes, connections: int, seconds: int) -> Load:
    done = failed = 0
    started = time.perf_counter()

    async def poster(session: aiohttp.ClientSession) -> None:
        nonlocal done, failed
        while time.perf_counter() - started < seconds:
            async with session.post(url, data=body, headers=headers) as answer:
                await answer.read()
                done += 1
                failed += not 200 <= answer.status < 300

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        await asyncio.gather(*(poster(session) for _ in range(connections)))
    return Load(done / (time.perf_counter() - started), failed)


if __name__ == "__main__":
    plan = json.load(sys.stdin)
    plan["body"] = plan["body"].encode()
    sys.stdout.write(msgspec.json.encode(uvloop.run(_own(**plan))).decode())
    sys.exit(0)
