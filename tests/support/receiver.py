"""A subscriber of webhooks whose answers are configurable, and which keeps the requests that it receives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
from aiohttp import web

from schemas.config import Config, Subscriber
from storage import sealed
from storage.sealed import Sealed, Secret
from storage.vault import Vault
from tests.support import pipeline

KEY = Vault.generate()
VAULT = Vault.from_text(KEY)


class ReceivedRequest(msgspec.Struct, frozen=True):
    """One request that the subscriber received."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    at: float


Answer = Callable[[ReceivedRequest], Awaitable[web.Response] | web.Response]


class Receiver:
    """A server on loopback; `answer` may be changed at any time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.got: list[ReceivedRequest] = []
        self.answer: Answer = lambda _: web.Response()
        self.arrived = asyncio.Event()
        self.busy = 0
        self.busiest = 0

    async def _handle(self, request: web.Request) -> web.Response:
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            got = ReceivedRequest(
                request.path,
                dict(request.query),
                {name.lower(): value for name, value in request.headers.items()},
                await request.read(),
                asyncio.get_running_loop().time(),
            )
            self.got.append(got)
            self.arrived.set()
            answer = self.answer(got)
            return await answer if isinstance(answer, Awaitable) else answer
        finally:
            self.busy -= 1

    def of(self, path: str) -> list[ReceivedRequest]:
        """Return the requests to this path."""
        return [got for got in self.got if got.path == path]


@asynccontextmanager
async def receiver(*, cancel_lost: bool = False) -> AsyncIterator[Receiver]:
    """Answer every POST on a free port. `cancel_lost`: a request ends with its connection, not with its answer."""
    app = web.Application(client_max_size=64 * 1024**2)  # events of the largest bodies are a little larger
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=cancel_lost)
    receiver = Receiver("")
    app.router.add_post("/{path:.*}", receiver._handle)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


def config(**delivery: Any) -> Config:
    """Return a configuration with the demo accounts and a subscriber of all of them that may be on this machine."""
    base = pipeline.config(
        {"delivery": {"allow_networks": ["127.0.0.0/8"], "allow_http": True, "timeout": 2.0, **delivery}}
    )
    demo = Subscriber(username="demo", password="demo", accounts=["*/*"])
    return msgspec.structs.replace(base, subscribers={"demo": demo})


async def subscribe(
    database: asyncpg.Connection | asyncpg.Pool,
    url: str,
    *,
    dialect: str = "standard",
    types: list[str] | None = None,
    accounts: list[str] | None = None,
    secret: str = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=",
    authorization: str | None = None,
    query_key: str | None = "token",
    subscriber: str = "demo",
    schedule: list[float] | None = None,
    max_rate: float | None = None,
    max_in_flight: int = 10,
    enabled: bool = True,
) -> UUID:
    """Create a subscription as the API does, and return its id."""
    id_ = uuid4()
    secrets = Sealed(secrets=(Secret(secret=secret),), authorization=authorization)
    await database.execute(
        """INSERT INTO crossdock.subscribed (id, subscriber, url, types, accounts, dialect, query_key, schedule,
        max_rate, max_in_flight, enabled, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)""",
        id_,
        subscriber,
        url,
        types or ["*"],
        accounts or ["*"],
        dialect,
        query_key,
        schedule,
        max_rate,
        max_in_flight,
        enabled,
        sealed.seal(VAULT, id_, secrets),
    )
    return id_


async def statuses(database: asyncpg.Connection | asyncpg.Pool) -> dict[str, int]:
    """Return the number of deliveries by status."""
    rows = await database.fetch("SELECT status, count(*) AS n FROM crossdock.deliveries GROUP BY status")
    return {row["status"]: row["n"] for row in rows}
