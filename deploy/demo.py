"""`make demo`: the whole pipeline, one signed example of every event of every platform, and where each came out.

Everything runs as a user would run it: `crossdock up` on a state folder and ports of its own, posts over HTTP, a
consumer of its own on `crossdock.events`, a subscriber in every dialect, and a look into the database's views.
"""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import aiohttp
import aiormq
import asyncpg
import msgspec
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker.connection import addresses
from deploy import config as configuration
from deploy import receiver
from deploy.cli.errors import Failed, explain
from deploy.cli.servers import endpoints as read_endpoints
from deploy.receiver import Receiver
from schemas import cloudevents, registry, topology
from schemas.config import Config
from schemas.platform import Event, Platform
from schemas.platforms.ustore import manufacturer_order

WIDTH = 100
"""Columns where there is no terminal to ask."""
READY_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
ARRIVAL_TIMEOUT = 15.0
"""Seconds for all that was posted to be stored and announced."""
OTHERS = ("DATABASE_URL", "AMQP_URL")
"""With servers that were there before, an example may have come before too: then each gets a key of its own."""


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


class Came(NamedTuple):
    """One thing that a post became. A new kind of outcome is one more of these."""

    kind: str
    what: str
    ms: float | None = None
    """After the post began."""


class Post(msgspec.Struct, kw_only=True):
    """One example, and what became of it."""

    platform: Platform
    event: Event
    example: str
    account: str
    body: bytes
    began: float = 0.0
    """Unix seconds, as everything is that compares moments of several processes."""
    status: int = 0
    ms: float = 0.0
    id: str = ""
    answer: dict[str, str] = {}
    """uStore's: which manufacturer each item goes to."""
    came: list[Came] = []
    problem: str | None = None

    @property
    def name(self) -> str:
        return f"{self.platform.name} {self.example}"

    @property
    def workers(self) -> tuple[str, ...]:
        return ("route", "store", "deliver") if self.event.reply else ("store", "deliver")


class Heard(NamedTuple):
    """One message on `crossdock.events`."""

    id: str
    subject: str
    routing_key: str
    at: float


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
        posts = list(_posts(config))
        async with (
            _listening(endpoints["amqp"]) as heard,
            receiver.listening() as there,
            receiver.subscribed(endpoints["api"], config.subscribers["demo"], there),
        ):
            await _post_all(posts, config, endpoints["ingress"])
            await _follow_all(posts, endpoints["postgres"], heard, there)
        console.print(_table(posts))
    failed = [f"{post.name}: {post.problem}" for post in posts if post.problem is not None]
    arrived = f"{len(posts) - len(failed)} of {len(posts)} events arrived"
    console.print(f"\n{arrived}; everything is stopped; {time.monotonic() - started:.1f} s in all")
    return failed


@asynccontextmanager
async def _pipeline(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """`crossdock up`, with the demo accounts whatever configuration lies about. Raises Failed."""
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
                raise Failed(f"the pipeline did not start: {said[-1] if said else 'it said nothing'}")
            await asyncio.wait((ended,), timeout=0.1)
        yield endpoints
    finally:
        if not ended.done():
            process.send_signal(signal.SIGTERM)
            await asyncio.wait((ended,), timeout=STOP_TIMEOUT)
        if not ended.done():
            process.kill()
            await ended


def _posts(config: Config) -> Iterator[Post]:
    """An example of every type of every event, to the first account of its platform."""
    fresh = uuid4().hex[:12] if any(os.environ.get(name) for name in OTHERS) else None
    for platform in registry.platforms().values():
        for event in platform.events:
            for example in event.examples[: len(event.types)]:
                body = registry.example(platform.name, example)
                if fresh is not None and platform.vary is not None:
                    body = platform.vary(event.name, body, fresh)
                account = next(iter(config.accounts[platform.name]))
                yield Post(platform=platform, event=event, example=example, account=account, body=body)


@asynccontextmanager
async def _listening(amqp: str) -> AsyncIterator[list[Heard]]:
    """What comes out on `crossdock.events`, as it comes; a queue of our own that goes with us."""
    heard: list[Heard] = []

    async def on_message(message: aiormq.abc.DeliveredMessage) -> None:
        event = cloudevents.decode(bytes(message.body))
        heard.append(Heard(event.id, event.subject, message.routing_key or "", time.time()))

    connection = await aiormq.connect(addresses(amqp)[0])
    try:
        channel = await connection.channel()
        queue = (await channel.queue_declare(exclusive=True)).queue
        assert queue is not None
        await channel.queue_bind(queue, topology.EVENTS, "#")
        await channel.basic_qos(prefetch_count=100)
        await channel.basic_consume(queue, on_message, no_ack=True)
        yield heard
    finally:
        await connection.close()


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
                post.came = [Came("answer", body.decode(), post.ms)]


async def _follow_all(posts: list[Post], postgres: str, heard: list[Heard], there: Receiver) -> None:
    """Looks for each until all have arrived, or the time is up."""
    connection = await asyncpg.connect(postgres)
    try:
        until = time.monotonic() + ARRIVAL_TIMEOUT
        for post in posts:
            if post.problem is None:
                post.problem = "it was not looked for"
                while post.problem is not None:
                    post.problem = await _follow(post, connection, heard, there)
                    if post.problem is None or time.monotonic() > until:
                        break
                    await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def _follow(post: Post, connection: asyncpg.Connection, heard: list[Heard], there: Receiver) -> str | None:
    """Adds to `post.came` where it came out, once all is there; until then says what is missing."""
    row = await connection.fetchrow(
        "SELECT id, key, type, version, stored_at, raw FROM crossdock.events WHERE message_id = $1", UUID(post.id)
    )
    if row is None:
        return "no row is stored"
    if row["raw"] != post.body:
        return "the row does not hold the very bytes that were sent"
    items = await connection.fetch(
        "SELECT order_product_id AS item, manufacturer_id AS manufacturer, rule, allocated_at "
        "FROM crossdock.allocations WHERE account = $1 AND order_id = $2 ORDER BY order_product_id",
        post.account,
        row["key"] if post.answer else "",
    )
    if {one["item"]: one["manufacturer"] for one in items} != post.answer:
        return "the allocations in the database are not those that were answered"
    wanted = {topology.event_key(row["type"], post.account)} | {
        topology.event_key(manufacturer_order.TYPE, post.account, manufacturer) for manufacturer in post.answer.values()
    }
    queued = [one for one in heard if one.subject == row["key"] and one.routing_key in wanted]
    missing = wanted - {one.routing_key for one in queued}
    if missing:
        return f"no message on {topology.EVENTS} with the key {', '.join(sorted(missing))}"

    calls = {one.dialect: one for one in there.calls if one.event == str(row["id"])}
    for name in receiver.dialects_of(row["type"]):
        if name not in calls:
            return f"no webhook in dialect {name}"
        if (wrong := calls[name].wrong) is not None:
            return f"the webhook in dialect {name} is not genuine: {wrong}"

    def after(moment: float) -> float:
        return (moment - post.began) * 1000

    post.came = [
        Came("row", f"{row['key']} v{row['version']}", after(row["stored_at"].timestamp())),
        *(
            Came("queue", key, after(next(one.at for one in queued if one.routing_key == key)))
            for key in sorted(wanted)
        ),
        *(Came("call", f"{name}, verified", after(one.at)) for name, one in sorted(calls.items())),
        *(one for one in post.came if one.kind == "answer"),
        *(Came("item", f"{one['item']} to {one['manufacturer']}, {one['rule']}") for one in items),
    ]
    return None


def _table(posts: list[Post]) -> Table:
    """A block of lines a post, in 100 columns."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("event", "answer", "worker", "came out as", "after"):
        table.add_column(name, justify="right" if name == "after" else "left", overflow="fold")
    for post in posts:
        if table.row_count:
            table.add_row()
        came = post.came or [Came("nothing", post.problem or "")]
        lines = zip_longest(
            (post.platform.name, post.example),
            (f"{post.status}", f"{post.ms:.1f} ms"),
            post.workers,
            (f"{one.kind:<7} {one.what}" for one in came),
            ("" if one.ms is None else f"{one.ms:.1f} ms" for one in came),
            fillvalue="",
        )
        for cells in lines:
            table.add_row(*map(Text, cells))
    return table


if __name__ == "__main__":
    sys.exit(main())
