"""Apicbase's API as its pull mode is documented, for tests: tokens, pages newest first, a limit, and its faults."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp import web

from schemas import registry
from schemas.config import Config
from tests.support import pipeline

CLIENT_ID = "supplier-7"
CLIENT_SECRET = "cl1ent-s3cret-hush"
PATH = "/api/v2/integrations/suppliers/purchase_orders/"


class ReceivedRequest(msgspec.Struct, frozen=True):
    """One request that Apicbase received."""

    kind: str
    """What the request is for: token or page."""
    query: dict[str, str]
    token: str
    at: float


Answer = Callable[[ReceivedRequest, int], Awaitable[web.Response | None] | web.Response | None]


class Apicbase:
    """An API on loopback that lists `orders`, which may be changed at any time."""

    def __init__(self) -> None:
        self.url = ""
        self.orders: list[bytes] = []
        self.requests: list[ReceivedRequest] = []
        self.page_size = 200
        """The maximum number of orders per page, whatever the request demands."""
        self.expires_in: Any = 604800
        self.tokens: set[str] = set()
        """The valid tokens; clear it to let all of them expire."""
        self.by_day = False
        """Whether `ordered_on__gt` compares days only."""
        self.filters = True
        self.credentials = {CLIENT_ID: CLIENT_SECRET}
        self.answer: Answer = lambda request, number: None
        """Returns the answer to the nth request of its kind, from 1; None: the usual one."""

    def of(self, kind: str) -> list[ReceivedRequest]:
        return [request for request in self.requests if request.kind == kind]

    async def _instead(self, kind: str, request: web.Request) -> web.Response | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        received = ReceivedRequest(kind, dict(request.query), token, time.monotonic())
        self.requests.append(received)
        answer = self.answer(received, len(self.of(kind)))
        return await answer if isinstance(answer, Awaitable) else answer

    async def _token(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        instead = await self._instead("token", request)
        if instead is not None:
            return instead
        if form.get("grant_type") != "client_credentials" or form.get("scope") != "supplier":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        if self.credentials.get(str(form.get("client_id"))) != form.get("client_secret"):
            return web.json_response({"error": "invalid_client", "sent": str(form)}, status=401)
        token = f"tok3n-{uuid4().hex}"
        self.tokens.add(token)
        return web.json_response({"access_token": token, "expires_in": self.expires_in, "token_type": "Bearer"})

    async def _page(self, request: web.Request) -> web.Response:
        instead = await self._instead("page", request)
        if instead is not None:
            return instead
        if self.requests[-1].token not in self.tokens:
            return web.json_response({"detail": "Invalid token."}, status=401)
        orders = sorted(self._selected(request), key=_ordered_on, reverse=True)
        size = min(self.page_size, int(request.query["page_size"]))
        number = int(request.query.get("page", "1"))
        here = orders[(number - 1) * size : number * size]
        if not here and number > 1:
            return web.json_response({"detail": "Invalid page."}, status=404)
        more = number * size < len(orders)
        following = str(request.url.update_query(page=str(number + 1))) if more else None
        body = b'{"count":%d,"next":%b,"previous":null,"results":[%b]}' % (
            len(orders),
            json.dumps(following).encode(),
            b", ".join(here),
        )
        return web.Response(body=body, content_type="application/json")

    def _selected(self, request: web.Request) -> list[bytes]:
        if not self.filters:
            return self.orders
        after = datetime.fromisoformat(request.query["ordered_on__gt"]).replace(tzinfo=UTC)
        status = request.query["status"]
        orders = []
        for raw in self.orders:
            order = json.loads(raw)
            moment = _ordered_on(raw)
            newer = moment.date() > after.date() if self.by_day else moment > after
            if newer and (not isinstance(order, dict) or order.get("status", status) == status):
                orders.append(raw)
        return orders


def _ordered_on(raw: bytes) -> datetime:
    order = json.loads(raw)
    text = order.get("ordered_on") if isinstance(order, dict) else None
    return datetime.fromisoformat(text) if text else datetime.now(UTC)


@asynccontextmanager
async def serving() -> AsyncIterator[Apicbase]:
    """Run the API on a free port."""
    apicbase = Apicbase()
    app = web.Application()
    app.router.add_post("/oauth/token/", apicbase._token)
    app.router.add_get(PATH, apicbase._page)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    apicbase.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield apicbase
    finally:
        await runner.cleanup()


def order(name: str, *, hours: float = 1.0, **more: Any) -> bytes:
    """Return the example under another id, ordered `hours` ago, in a notation that our encoders do not produce."""
    order = json.loads(registry.example("apicbase", "purchase_order"))
    moment = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    order |= {"id": name, "order_number": f"PO-{name}", "ordered_on": moment, **more}
    return (
        json.dumps(order, separators=(" , ", " :"), ensure_ascii=False).encode().replace(b'"status" :', b'"status": ')
    )


def config(apicbase: Apicbase, *accounts: str, interval: float = 0.05, **more: Any) -> Config:
    """Return a configuration whose accounts, by default `acme`, poll `apicbase`; `more` is set on each account."""
    poll = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "base_url": apicbase.url, "interval": interval}
    account = {"secrets": ["demo-apicbase-secret"], "poll": poll, **more}
    return pipeline.config({"accounts": {"apicbase": dict.fromkeys(accounts or ("acme",), account)}})
