"""Runs the parts of the pipeline in the test's own process, and waits for conditions."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from broker import topology
from deploy import config as configuration
from deploy.process import Component
from ingress.hooks.app import IngressApp
from ingress.hooks.metrics import AccessLog
from schemas import registry
from schemas.config import Config
from workers.route.worker import RouteWorker
from workers.store.worker import StoreWorker


def config(raw: Mapping[str, Any] | None = None) -> Config:
    """Return a configuration with the demo accounts, or the one in `raw`, which is as in a file."""
    return configuration.parse(dict(raw or {}), Path())


def load(file: Path) -> Config:
    """Return the configuration in a file."""
    return configuration.load(file)


@asynccontextmanager
async def running(*components: Component) -> AsyncIterator[None]:
    """Start the components in order, wait until they are ready, and stop them in the same order."""
    started: list[Component] = []
    try:
        for component in components:
            await component.start()
            started.append(component)
        for component in components:
            await until(partial(_ready, component), what=f"{component} is ready")
        yield
    finally:
        for component in started:
            await component.stop()


def _ready(component: Component) -> bool:
    return not component.problems()


async def until(condition: Callable[[], Any], *, what: str = "the condition", seconds: float = 20.0) -> Any:
    """Wait until `condition` (plain or async) returns a true value, and return that. Raises AssertionError."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.01)


async def queued(amqp_url: str, count: int) -> None:
    """Wait until `count` messages are ready in the store worker's queue."""

    async def are_ready() -> bool:
        return (await topology.depths(amqp_url))["crossdock.store"][0] == count

    await until(are_ready, what=f"{count} queued messages")


class RunningIngress:
    """A running ingress, and a client of it."""

    def __init__(self, app: IngressApp, session: aiohttp.ClientSession, settings: Config, lines: list[bytes]) -> None:
        self.app = app
        self.session = session
        self.config = settings
        self.lines = lines
        """The lines of the access log."""

    def url(self, platform: str, event: str, account: str | None = None) -> str:
        hook = registry.event(platform, event)
        account = account or next(iter(self.config.accounts[platform]))
        return f"http://127.0.0.1:{self.app.port}/hooks/{platform}/{account}/{hook.path}"

    async def send(self, data: bytes) -> bytes:
        """Send bytes over a new connection, and return the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.app.port)
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(65536), 10)
        writer.close()
        return answer

    async def post(
        self, platform: str, event: str, raw: bytes | None = None, *, headers: Mapping[str, str] = {}, sign: bool = True
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Post the event's first example, or `raw`, signed; return the status, body and headers of the answer."""
        hook = registry.event(platform, event)
        raw = registry.example(platform, hook.examples[0]) if raw is None else raw
        account = next(iter(self.config.accounts[platform].values()))
        signed = registry.platforms()[platform].sign(raw, account)
        sent = {"Content-Type": "application/json", **(signed.headers if sign else {}), **headers}
        query = signed.query if sign else {}
        async with self.session.post(self.url(platform, event), data=raw, headers=sent, params=query) as answer:
            return answer.status, await answer.read(), answer.headers


@asynccontextmanager
async def door(amqp_url: str, settings: Config | None = None) -> AsyncIterator[RunningIngress]:
    """Run an ingress on a free port."""
    settings = settings or config()
    settings = msgspec.structs.replace(settings, ingress=msgspec.structs.replace(settings.ingress, port=0))
    lines: list[bytes] = []
    app = IngressApp(settings, amqp_url=amqp_url, log_requests=AccessLog(lines.append))
    await app.start()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)) as session:
            yield RunningIngress(app, session, settings, lines)
    finally:
        await app.stop()


def store(
    amqp_url: str, database_url: str, settings: Config | None = None, *, shards: Sequence[int] | None = None
) -> StoreWorker:
    return StoreWorker(settings or config(), amqp_url=amqp_url, database_url=database_url, shards=shards)


def route(amqp_url: str, settings: Config | None = None) -> RouteWorker:
    return RouteWorker(settings or config(), amqp_url=amqp_url)
