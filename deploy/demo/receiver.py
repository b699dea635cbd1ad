"""A small receiver of webhooks: checks each by its dialect's own rules, as a subscriber would. For `make demo`."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from deploy.cli.errors import CommandError
from schemas.config import Subscriber
from schemas.dialects import dialects


class ReceivedCall(msgspec.Struct, frozen=True):
    """One webhook that came."""

    dialect: str
    event: str
    """The event's id, as its header says."""
    at: float
    """Unix seconds."""
    wrong: str | None
    """What is not as the dialect wants it."""


class Receiver:
    """`secrets` by dialect, from when they are known; for eComNow the whole `Authorization`."""

    def __init__(self) -> None:
        self.url = ""
        self.secrets: dict[str, str] = {}
        self.calls: list[ReceivedCall] = []

    async def take(self, request: web.Request) -> web.Response:
        """200 if it is genuine, 401 if not."""
        dialect = request.match_info["dialect"]
        body = await request.read()
        check = CHECKS.get(dialect)
        wrong: str | None = f"no dialect {dialect}"
        if check is not None:
            wrong = check(self.secrets.get(dialect, ""), body, request.headers, request.query)
        event = request.headers.get("webhook-id") or request.headers.get("X-Crossdock-Id") or ""
        self.calls.append(ReceivedCall(dialect, event, time.time(), wrong))
        return web.Response(status=200 if wrong is None else 401)


Check = Callable[[str, bytes, Mapping[str, str], Mapping[str, str]], str | None]


def _standard(secret: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """Standard Webhooks 1.0: any of the signatures over id, time and body; not older than five minutes."""
    name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, f"{name}.{at}.".encode() + body, hashlib.sha256)).decode()
    if f"v1,{expected}" not in headers.get("webhook-signature", "").split():
        return "the signature does not fit"
    return None if abs(time.time() - int(at)) < 300 else "the timestamp is not of now"


def _channelape(secret: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The secret in the query string."""
    return None if hmac.compare_digest(query.get("token", ""), secret) else "the secret does not fit"


def _ecomnow(secret: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The registered `Authorization`, and the documented members."""
    if not hmac.compare_digest(headers.get("Authorization", ""), secret):
        return "the authorization does not fit"
    said = json.loads(body)
    return None if {"orderNo", "type", "items"} <= said.keys() else "the body is not the documented one"


def _apicbase(secret: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """HMAC-SHA256 in hexadecimal over the bytes."""
    expected = hmac.digest(secret.encode(), body, hashlib.sha256).hex()
    given = headers.get("X-APIC-WEBHOOK-SIGNATURE", "")
    return None if hmac.compare_digest(given, expected) else "the signature does not fit"


CHECKS: dict[str, Check] = {
    "standard": _standard,
    "channelape": _channelape,
    "ecomnow": _ecomnow,
    "apicbase": _apicbase,
}


@asynccontextmanager
async def listening() -> AsyncIterator[Receiver]:
    """On a free port of this machine."""
    found = Receiver()
    app = web.Application()
    app.router.add_post("/{dialect}", found.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield found
    finally:
        await runner.cleanup()


@asynccontextmanager
async def subscribed(api: str, subscriber: Subscriber, there: Receiver) -> AsyncIterator[None]:
    """A subscription in each dialect, registered as a subscriber would, and deleted again."""
    log_in = {"Username": subscriber.username, "Password": subscriber.password}
    made: list[str] = []
    async with aiohttp.ClientSession(api, headers=log_in, timeout=aiohttp.ClientTimeout(total=20)) as session:

        async def register(path: str, asked: dict[str, Any]) -> dict[str, Any]:
            async with session.post(path, json=asked) as answer:
                said: dict[str, Any] = await answer.json(content_type=None)
                if answer.status >= 300:
                    raise CommandError(f"{path} answered {answer.status}: {json.dumps(said)[:300]}")
            made.append(f"{path}/{said.get('id') or said['webhookId']}")
            return said

        try:
            for name in ("standard", "channelape", "apicbase"):
                types = ["*"] if name == "standard" else [f"{name}.*"]
                asked = {"url": f"{there.url}/{name}", "dialect": name, "types": types}
                there.secrets[name] = (await register("/v1/subscriptions", asked))["secret"]
            there.secrets["ecomnow"] = "Basic " + secrets.token_urlsafe(24)
            for kind in ("new_order", "order_cancellation"):
                asked = {"url": f"{there.url}/ecomnow", "webhookType": kind}
                await register("/basic/webhooks", {**asked, "authentication": there.secrets["ecomnow"]})
            yield
        finally:
            for path in made:
                async with session.delete(path):
                    pass


def dialects_of(type_: str) -> list[str]:
    """Those that the demo's subscriptions are told of this type in."""
    fitting = {"standard", "ecomnow"} | ({type_.split(".")[0]} & {"channelape", "apicbase"})
    return [name for name, dialect in dialects().items() if name in fitting and dialect.supports(type_)]
