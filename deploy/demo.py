"""`make demo`: the whole pipeline, one signed example of every event of every platform, and where each came out."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import aiormq
import asyncpg
import msgspec
import orjson
from rich.console import Console
from rich.table import Table

from deploy import config as configuration
from deploy.local.up import read_endpoints
from schemas import cloudevents, registry, topology
from schemas.config import Config
from schemas.platform import Event, Platform

READY_TIMEOUT = 90.0
ARRIVAL_TIMEOUT = 15.0
"""Seconds from the answer until the row and the queue message must be there."""


class Post(msgspec.Struct):
    """One example, and what became of it."""

    platform: Platform
    event: Event
    example: str
    account: str
    status: int = 0
    id: str = ""
    answer: str = ""
    answered_ms: float = 0.0
    row: str = ""
    stored_ms: float = 0.0
    queued: list[str] = []
    problem: str = ""


class Heard:
    """What came out on `crossdock.events`, by event id."""

    def __init__(self) -> None:
        self.keys: dict[str, list[str]] = {}
        self.changed = asyncio.Event()

    async def on_message(self, message: aiormq.abc.DeliveredMessage) -> None:
        event = cloudevents.decode(bytes(message.body))
        self.keys.setdefault(event.subject, []).append(getattr(message.delivery, "routing_key", ""))
        self.changed.set()


def main() -> int:
    """0 when everything arrived, 1 with the reason otherwise."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    try:
        posts = asyncio.run(_demo(console))
    except (RuntimeError, OSError, TimeoutError, configuration.ConfigError) as error:
        console.print(f"demo failed: {error}")
        return 1
    failed = [post for post in posts if post.problem]
    for post in failed:
        console.print(f"{post.platform.name} {post.example}: {post.problem}")
    console.print("everything arrived" if not failed else f"{len(failed)} of {len(posts)} did not arrive")
    return 1 if failed else 0


async def _demo(console: Console) -> list[Post]:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crossdock-demo-") as folder:
        console.print("starting PostgreSQL, RabbitMQ, the ingress and the workers …")
        async with _pipeline(Path(folder)) as endpoints:
            console.print(f"ready after {time.monotonic() - started:.1f} s at {endpoints['ingress']}")
            config = _config(Path(folder))
            posts = _posts(config)
            async with _listening(endpoints["amqp"]) as heard:
                await _post_all(posts, config, endpoints["ingress"])
                await _follow(posts, endpoints["postgres"], heard)
        _print(console, posts)
        console.print(f"stopped; {time.monotonic() - started:.1f} s in all")
    return posts


def _config(folder: Path) -> Config:
    """The demo accounts, whatever configuration lies about."""
    return configuration.load(folder / "crossdock.toml")


@asynccontextmanager
async def _pipeline(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """`crossdock up` as a user would run it, on a state folder and ports of its own."""
    (folder / "crossdock.toml").write_text("# no accounts: the demo accounts\n")
    command = [sys.executable, "-m", "deploy.cli.main", "up", "--state", str(folder / "state"), "--port", "0"]
    command += ["--config", str(folder / "crossdock.toml")]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ))  # noqa: ASYNC220
    try:
        until = time.monotonic() + READY_TIMEOUT
        while not (endpoints := read_endpoints(folder / "state")):
            if process.poll() is not None or time.monotonic() > until:
                said = (folder / "up.log").read_text(errors="replace").strip().splitlines()
                raise RuntimeError(f"the pipeline did not start: {said[-1] if said else 'it said nothing'}")
            await asyncio.sleep(0.1)
        yield endpoints
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, 20)
        if process.poll() is None:
            process.kill()


def _posts(config: Config) -> list[Post]:
    """An example of every type of every event, under the first account of its platform."""
    return [
        Post(platform, event, example, next(iter(config.accounts[platform.name])))
        for platform in registry.platforms().values()
        for event in platform.events
        for example in event.examples[: len(event.types)]
    ]


@asynccontextmanager
async def _listening(amqp: str) -> AsyncIterator[Heard]:
    """A consumer of its own on everything that is announced."""
    heard = Heard()
    connection = await aiormq.connect(amqp)
    try:
        channel = await connection.channel()
        queue = await channel.queue_declare(exclusive=True)
        assert queue.queue is not None
        await channel.queue_bind(queue.queue, topology.EVENTS, "#")
        await channel.basic_qos(prefetch_count=100)
        await channel.basic_consume(queue.queue, heard.on_message, no_ack=True)
        yield heard
    finally:
        await connection.close()


async def _post_all(posts: list[Post], config: Config, ingress: str) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        for post in posts:
            raw = registry.example(post.platform.name, post.example)
            signed = post.platform.sign(raw, config.accounts[post.platform.name][post.account])
            url = f"{ingress}/hooks/{post.platform.name}/{post.account}/{post.event.path}"
            headers = {"Content-Type": "application/json", **signed.headers}
            begun = time.perf_counter()
            async with session.post(url, data=raw, headers=headers, params=signed.query) as response:
                body = await response.read()
            post.answered_ms = (time.perf_counter() - begun) * 1000
            post.status = response.status
            post.id = response.headers.get("X-Crossdock-Id", "")
            post.answer = body.decode() if post.platform.sign_answer else ""
            if post.status != 200:
                post.problem = f"answered {post.status}: {body.decode(errors='replace')[:200]}"


async def _follow(posts: list[Post], postgres: str, heard: Heard) -> None:
    """Waits for each post's row and queue message."""
    connection = await asyncpg.connect(postgres)
    try:
        for post in posts:
            if not post.problem:
                with suppress(TimeoutError):
                    async with asyncio.timeout(ARRIVAL_TIMEOUT):
                        await _arrival(post, connection, heard)
                if not post.row or not post.queued:
                    post.problem = "no row was stored" if not post.row else "no event was published"
    finally:
        await connection.close()


async def _arrival(post: Post, connection: asyncpg.Connection, heard: Heard) -> None:
    while True:
        row = await connection.fetchrow(
            "SELECT key, type, version, stored_at - received_at AS took FROM crossdock.events WHERE message_id = $1",
            UUID(post.id),
        )
        if row is not None:
            post.row = f"{row['key']} v{row['version']}"
            post.stored_ms = row["took"].total_seconds() * 1000
            wanted = {topology.event_key(row["type"], post.account)}
            if post.platform.sign_answer:
                wanted |= {
                    topology.event_key("ustore.manufacturer_order", post.account, manufacturer)
                    for manufacturer in set(orjson.loads(post.answer).values())
                }
            found = [key for key in heard.keys.get(row["key"], []) if key in wanted]
            if wanted <= set(found):
                post.queued = found
                return
        heard.changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await heard.changed.wait()


def _print(console: Console, posts: list[Post]) -> None:
    table = Table(title="one example of every event", title_justify="left", box=None, pad_edge=False)
    for name in ("platform", "example", "status", "ms", "worker", "row", "stored ms", "message on crossdock.events"):
        table.add_column(name, overflow="fold", justify="right" if name in ("status", "ms", "stored ms") else "left")
    for post in posts:
        workers = "route, store" if post.event.reply else "store"
        queued = "\n".join(post.queued) + (f"\nanswer {post.answer}" if post.answer else "")
        table.add_row(
            post.platform.name,
            post.example,
            str(post.status),
            f"{post.answered_ms:.1f}",
            workers,
            post.row,
            f"{post.stored_ms:.1f}",
            queued,
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
