"""Runs an API, and sends it requests."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from ingress.api.app import ApiApp
from schemas.config import Config, Subscriber
from tests.support import receiver
from tests.support.receiver import VAULT

TOKEN = "the-operators-token"
BOARDS = {"Username": "boards", "Password": "b0ards-password"}
OTHER = {"Username": "other", "Password": "0ther-password"}
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}


def config(**delivery: Any) -> Config:
    """Return a configuration with two subscribers and an operator."""
    base = receiver.config(**delivery)
    return msgspec.structs.replace(
        base,
        api=msgspec.structs.replace(base.api, port=0, operator_token=TOKEN),
        subscribers={
            "boards": Subscriber(
                username="boards", password="b0ards-password", accounts=["channelape/rothys", "ecomnow/*", "apicbase/*"]
            ),
            "other": Subscriber(username="other", password="0ther-password", accounts=["*/*"]),
        },
    )


class Client:
    """Sends requests to the API as a subscriber or as the operator."""

    def __init__(self, session: aiohttp.ClientSession, base: str, app: ApiApp) -> None:
        self.session = session
        self.base = base
        self.app = app

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: Mapping[str, str] = BOARDS,
        headers: Mapping[str, str] = {},
        raw: bytes | None = None,
        query: Mapping[str, str] = {},
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Send a request with the headers `who`; return the status, decoded body and headers of the answer."""
        sent = {**who, **({"Content-Type": "application/json"} if body is not None or raw else {}), **headers}
        data = raw if raw is not None else None if body is None else msgspec.json.encode(body)
        async with self.session.request(
            method, self.base + path, data=data, headers=sent, params=query, allow_redirects=False
        ) as answer:
            text = await answer.read()
            return answer.status, msgspec.json.decode(text) if text else None, answer.headers

    async def subscribe(
        self, url: str = "https://a.example/hook", *, who: Mapping[str, str] = BOARDS, **more: Any
    ) -> Any:
        """Register a subscription, and return it."""
        status, answer, _ = await self.ask("POST", "/v1/subscriptions", {"url": url, **more}, who=who)
        assert status == 201, answer
        return answer


@asynccontextmanager
async def api(database_url: str, settings: Config | None = None) -> AsyncIterator[Client]:
    """Run an API on a free port."""
    app = ApiApp(settings or config(), database_url=database_url, vault=VAULT)
    await app.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(session, f"http://127.0.0.1:{app.port}", app)
    finally:
        await app.stop()
