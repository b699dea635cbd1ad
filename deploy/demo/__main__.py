"""`make demo`: the whole pipeline, one signed example of every event of every platform, and where each came out.

Everything runs as a user would run it: `crossdock up` on a state folder and ports of its own, posts over HTTP, a
consumer of its own on `crossdock.events`, a subscriber in every dialect, and a look into the database's views.
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
from typing import Any

import aio_pika
import aiohttp
import orjson
from aio_pika.abc import AbstractIncomingMessage
from rich.console import Console

from broker.connection import addresses
from deploy import config as configuration
from deploy.cli.errors import CommandError, explain
from deploy.cli.servers import endpoints as read_endpoints
from deploy.demo import receiver
from deploy.demo.follow import follow_all
from deploy.demo.posts import DemoArrival, Post, WatchedEvent, examples
from deploy.demo.table import table
from schemas import cloudevents, topology
from schemas.config import Config

WIDTH = 100
"""Columns where there is no terminal to ask."""
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
"""A subscriber on this machine, which only a demo has."""


def main() -> int:
    """0 when everything arrived, 1 with the reason otherwise."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False)
    folder = Path(tempfile.mkdtemp(prefix="crossdock-demo-"))
    try:
        failed = asyncio.run(_demo(console, folder))
    except KeyboardInterrupt:
        failed = ["interrupted"]
    except Exception as error:
        said = explain(error)
        if said is None:
            raise
        failed = [said]
    if failed:
        for reason in failed:
            console.print(f"failed: {reason}", soft_wrap=True)
        console.print(f"logs are kept in {folder}", soft_wrap=True)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


async def _demo(console: Console, folder: Path) -> list[str]:
    """What did not arrive, a line each."""
    started = time.monotonic()
    console.print("starting PostgreSQL, RabbitMQ, the ingress and the workers …")
    async with _pipeline(folder) as endpoints:
        console.print(f"ready after {time.monotonic() - started:.1f} s at {endpoints['ingress']}\n")
        config = configuration.load(folder / "crossdock.toml")
        posts = list(examples(config))
        async with (
            _listening(endpoints["amqp"]) as heard,
            receiver.listening() as there,
            receiver.subscribed(endpoints["api"], config.subscribers["demo"], there),
        ):
            await _post_all(posts, config, endpoints["ingress"])
            await follow_all(posts, endpoints["postgres"], heard, there)
        console.print(table(posts))
    failed = [f"{post.name}: {post.problem}" for post in posts if post.problem is not None]
    arrived = f"{len(posts) - len(failed)} of {len(posts)} events arrived"
    console.print(f"\n{arrived}; everything is stopped; {time.monotonic() - started:.1f} s in all")
    return failed


@asynccontextmanager
async def _pipeline(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """`crossdock up`, with the demo accounts whatever configuration lies about. Raises CommandError."""
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
        while not (endpoints := read_endpoints(folder / "state")):
            if ended.done() or time.monotonic() > until:
                said = log.read_text(errors="replace").strip().splitlines()
                raise CommandError(f"the pipeline did not start: {said[-1] if said else 'it said nothing'}")
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
async def _listening(amqp: str) -> AsyncIterator[list[WatchedEvent]]:
    """Collect the events that come out on `crossdock.events`, over an exclusive queue that goes with its connection."""
    events: list[WatchedEvent] = []

    async def on_message(message: AbstractIncomingMessage) -> None:
        event = cloudevents.decode(message.body)
        events.append(WatchedEvent(event.id, event.subject, message.routing_key or "", time.time()))

    async with await aio_pika.connect(addresses(amqp)[0]) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=100)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.EVENTS, "#")
        await queue.consume(on_message, no_ack=True)
        yield events


async def _post_all(posts: list[Post], config: Config, ingress: str) -> None:
    """One after the other, signed as the platform signs."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        for post in posts:
            signed = post.platform.sign(post.body, config.accounts[post.platform.name][post.account])
            url = f"{ingress}/hooks/{post.platform.name}/{post.account}/{post.event.path}"
            headers = {"Content-Type": "application/json", **signed.headers}
            post.began, begun = time.time(), time.perf_counter()
            async with session.post(url, data=post.body, headers=headers, params=signed.query) as response:
                body = await response.read()
            post.ms = (time.perf_counter() - begun) * 1000
            post.status, post.id = response.status, response.headers.get("X-Crossdock-Id", "")
            if post.status != 200:
                post.problem = f"answered {post.status}: {body.decode(errors='replace')[:200]}"
            elif post.platform.sign_answer is not None:
                post.answer = orjson.loads(body)
                post.came = [DemoArrival("answer", body.decode(), post.ms)]


if __name__ == "__main__":
    sys.exit(main())
