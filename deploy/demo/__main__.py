"""`make demo`: the whole pipeline, one signed example of every event of every platform, and where each arrived.

Everything runs as a user would run it: `crossdock up` on its own state folder and ports, posts over HTTP, a consumer of
`crossdock.events`, a subscriber in every dialect, and queries of the database's views.
"""

import asyncio
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
from aio_pika.abc import AbstractIncomingMessage
from rich.console import Console

from broker.connection import addresses, connect
from deploy import config as configuration
from deploy import streams
from deploy.cli.errors import CommandError, explain
from deploy.demo import receiver
from deploy.demo.follow import follow_all
from deploy.demo.posts import DemoArrival, Post, WatchedEvent, examples
from deploy.demo.table import table
from deploy.state import Endpoints, read_endpoints
from schemas import cloudevents, topology
from schemas.config import Config

WIDTH = 100
"""Columns of the output if it is not a terminal."""
READY_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0

SETTINGS = """# no accounts: the demo accounts
[delivery]
allow_networks = ["127.0.0.0/8"]
allow_http = true
[subscribers.demo]
username = "demo"
password = "{password}"
accounts = ["*/*"]
"""
"""Configuration of the demo: a subscriber on this machine."""


def main() -> int:
    """Run the demo; return 0 if everything arrived, else print the reason and return 1."""
    streams.open_missing()
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False)
    folder = Path(tempfile.mkdtemp(prefix="crossdock-demo-"))
    try:
        failed = asyncio.run(_demo(console, folder))
    except KeyboardInterrupt:
        failed = ["interrupted"]
    except Exception as error:
        text = explain(error)
        if text is None:
            raise
        failed = [text]
    if failed:
        for reason in failed:
            console.print(f"failed: {reason}", soft_wrap=True)
        console.print(f"logs are kept in {folder}", soft_wrap=True)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


async def _demo(console: Console, folder: Path) -> list[str]:
    """Return one line per example that did not arrive."""
    started = time.monotonic()
    console.print("starting PostgreSQL, RabbitMQ, the ingress and the workers …")
    async with _pipeline(folder) as endpoints:
        console.print(f"ready after {time.monotonic() - started:.1f} s at {endpoints.ingress}\n")
        config = configuration.load(folder / "crossdock.toml")
        posts = list(examples(config))
        async with (
            _consuming(endpoints.amqp) as consumed,
            receiver.listening() as subscriber,
            receiver.subscribed(endpoints.api, config.subscribers["demo"], subscriber),
        ):
            await _post_all(posts, config, endpoints.ingress)
            await follow_all(posts, endpoints.postgres, consumed, subscriber)
        console.print(table(posts))
    failed = [f"{post.name}: {post.problem}" for post in posts if post.problem is not None]
    arrived = f"{len(posts) - len(failed)} of {len(posts)} events arrived"
    console.print(f"\n{arrived}; everything is stopped; {time.monotonic() - started:.1f} s in all")
    console.print("`make up` keeps everything running, and prints a link to the console, which shows this as pages")
    return failed


@asynccontextmanager
async def _pipeline(folder: Path) -> AsyncIterator[Endpoints]:
    """Run `crossdock up` with the demo accounts, ignoring any existing configuration. Raises CommandError."""
    config, log = folder / "crossdock.toml", folder / "up.log"
    config.write_text(SETTINGS.format(password=secrets.token_urlsafe(24)))
    command = [sys.executable, "-m", "deploy.cli.main", "up", "--state", str(folder / "state"), "--port", "0"]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, "--config", str(config), stdout=output, stderr=subprocess.STDOUT
        )
    ended = asyncio.create_task(process.wait())
    try:
        until = time.monotonic() + READY_TIMEOUT
        while not (endpoints := read_endpoints(folder / "state")).ingress:
            if ended.done() or time.monotonic() > until:
                lines = log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"]
                raise CommandError(f"the pipeline did not start: {lines[-1]}")
            await asyncio.wait((ended,), timeout=0.1)
        yield endpoints
    finally:
        if not ended.done():
            process.send_signal(signal.SIGTERM)
            await asyncio.wait((ended,), timeout=STOP_TIMEOUT)
        if not ended.done():
            process.kill()
            await ended


@asynccontextmanager
async def _consuming(amqp: str) -> AsyncIterator[list[WatchedEvent]]:
    """Consume `crossdock.events` through an exclusive queue; the list grows as events arrive."""
    consumed: list[WatchedEvent] = []

    async def on_message(message: AbstractIncomingMessage) -> None:
        event = cloudevents.decode(message.body)
        consumed.append(WatchedEvent(event.id, event.subject, message.routing_key or "", time.time()))

    async with await connect(addresses(amqp)[0]) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=100)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.EVENTS, "#")
        await queue.consume(on_message, no_ack=True)
        yield consumed


async def _post_all(posts: list[Post], config: Config, ingress: str) -> None:
    """Post one example after the other, signed as its platform signs."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        for post in posts:
            signed = post.platform.sign(post.body, config.accounts[post.platform.name][post.account])
            url = f"{ingress}/hooks/{post.platform.name}/{post.account}/{post.event.path}"
            headers = {"Content-Type": "application/json", **signed.headers}
            post.started_at, started = time.time(), time.perf_counter()
            async with session.post(url, data=post.body, headers=headers, params=signed.query) as response:
                body = await response.read()
            post.ms = (time.perf_counter() - started) * 1000
            post.status, post.id = response.status, response.headers.get("X-Crossdock-Id", "")
            if post.status != 200:
                post.problem = f"answered {post.status}: {body.decode(errors='replace')[:200]}"
            elif post.is_allocated:
                post.answer = orjson.loads(body)
                post.arrivals = [DemoArrival("answer", body.decode(), post.ms)]


if __name__ == "__main__":
    sys.exit(main())
