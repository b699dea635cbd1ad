"""A small receiver of webhooks for `make demo`: it checks each by the rules of its dialect, as a subscriber would."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from aiohttp import web

from deploy.cli.errors import CommandError
from schemas.config import Subscriber
from schemas.dialects import dialects


class ReceivedCall(msgspec.Struct, frozen=True):
    """One webhook that was received."""

    dialect: str
    event: str
    """The event's id, from its header."""
    at: float
    """When it arrived, in Unix seconds."""
    problem: str | None
    """Why it is not genuine, or None."""


class Registered(msgspec.Struct):
    """The response to a registration, in either format."""

    id: str = ""
    webhook_id: str = msgspec.field(name="webhookId", default="")
    secret: str = ""


class Receiver:
    """The subscriber's server. `secrets` are by dialect; that of eComNow is the whole `Authorization`."""

    def __init__(self) -> None:
        self.url = ""
        self.secrets: dict[str, str] = {}
        self.calls: list[ReceivedCall] = []

    async def take(self, request: web.Request) -> web.Response:
        """Record a webhook; answer 200 if it is genuine, 401 if not."""
        dialect = request.match_info["dialect"]
        body = await request.read()
        check = CHECKS.get(dialect)
        problem: str | None = f"no dialect {dialect}"
        if check is not None:
            problem = check(self.secrets.get(dialect, ""), body, request.headers, request.query)
        event = request.headers.get("webhook-id") or request.headers.get("X-Crossdock-Id") or ""
        self.calls.append(ReceivedCall(dialect, event, time.time(), problem))
        return web.Response(status=200 if problem is None else 401)


NOT_CURRENT = "the timestamp is not current"

Check = Callable[[str, bytes, Mapping[str, str], Mapping[str, str]], str | None]


def _standard(secret: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """Check any of the signatures over id, time and body, not older than five minutes (Standard Webhooks 1.0)."""
    name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, f"{name}.{at}.".encode() + body, hashlib.sha256)).decode()
    if f"v1,{expected}" not in headers.get("webhook-signature", "").split():
        return "the signature is wrong"
    return None if abs(time.time() - int(at)) < 300 else NOT_CURRENT


def _channelape(secret: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """Check the secret in the query string."""
    return None if hmac.compare_digest(query.get("token", ""), secret) else "the secret is wrong"


def _ecomnow(secret: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """Check the registered `Authorization` and the documented members."""
    if not hmac.compare_digest(headers.get("Authorization", ""), secret):
        return "the authorization is wrong"
    is_documented = {"orderNo", "type", "items"} <= json.loads(body).keys()
    return None if is_documented else "the body is not the documented one"


def _apicbase(secret: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """Check the HMAC-SHA256 over the bytes, in hexadecimal."""
    expected = hmac.digest(secret.encode(), body, hashlib.sha256).hex()
    given = headers.get("X-APIC-WEBHOOK-SIGNATURE", "")
    return None if hmac.compare_digest(given, expected) else "the signature is wrong"


CHECKS: dict[str, Check] = {
    "standard": _standard,
    "channelape": _channelape,
    "ecomnow": _ecomnow,
    "apicbase": _apicbase,
}


@asynccontextmanager
async def listening() -> AsyncIterator[Receiver]:
    """Run a receiver on a free port of this machine."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{dialect}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def subscribed(api: str, subscriber: Subscriber, receiver: Receiver) -> AsyncIterator[None]:
    """Register a subscription in each dialect, as a subscriber would, and delete them at the end."""
    log_in = {"Username": subscriber.username, "Password": subscriber.password}
    registered: list[str] = []
    async with aiohttp.ClientSession(api, headers=log_in, timeout=aiohttp.ClientTimeout(total=20)) as session:

        async def register(path: str, body: Mapping[str, object]) -> Registered:
            async with session.post(path, json=body) as response:
                text = await response.read()
                if response.status >= 300:
                    raise CommandError(f"{path} answered {response.status}: {text.decode(errors='replace')[:300]}")
            created = msgspec.json.decode(text, type=Registered)
            registered.append(f"{path}/{created.id or created.webhook_id}")
            return created

        try:
            for name in ("standard", "channelape", "apicbase"):
                types = ["*"] if name == "standard" else [f"{name}.*"]
                body = {"url": f"{receiver.url}/{name}", "dialect": name, "types": types}
                receiver.secrets[name] = (await register("/v1/subscriptions", body)).secret
            authentication = receiver.secrets["ecomnow"] = "Basic " + secrets.token_urlsafe(24)
            for kind in ("new_order", "order_cancellation"):
                webhook = {"url": f"{receiver.url}/ecomnow", "webhookType": kind, "authentication": authentication}
                await register("/basic/webhooks", webhook)
            yield
        finally:
            for path in registered:
                async with session.delete(path):
                    pass


def dialects_of(type_: str) -> list[str]:
    """Return the dialects in which the demo's subscriptions receive an event type."""
    subscribed_dialects = {"standard", "ecomnow"} | ({type_.split(".")[0]} & {"channelape", "apicbase"})
    return [name for name, dialect in dialects().items() if name in subscribed_dialects and dialect.supports(type_)]
