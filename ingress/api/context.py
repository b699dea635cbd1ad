"""What every handler works with, and how it reads and answers."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID, uuid4

import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ingress.api import values
from ingress.api.auth import Caller
from ingress.api.errors import NOT_FOUND, ProblemError, invalid, unreadable
from schemas import encodings
from schemas.config import Config
from schemas.destinations.guard import BlockedError, Guard
from schemas.dialects import get_dialect
from schemas.outbound import OPERATOR, Dialect
from schemas.patterns import fits
from storage import sealed, subscriptions
from storage.database import Connection
from storage.sealed import Sealed, Secret
from storage.subscriptions import Subscription
from storage.vault import Vault

MAX_BODY = 64 * 1024
BODY_TIMEOUT = 10.0
"""Seconds for a whole body."""
OVERLAP = 86_400.0
"""Seconds that a secret goes on counting after its rotation (contract §6: 24 h)."""

MOST_SECRETS = 10
"""Secrets of one subscription that count at the same time."""

SUBSCRIBER = web.RequestKey("subscriber", str)
"""Who asked, for the log."""
_RAW = web.RequestKey("raw", bytes)

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class Context:
    """The parts of the API; the configuration may change under it."""

    def __init__(self, config: Config, vault: Vault) -> None:
        self.vault = vault
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Goes by this configuration from the next request on."""
        self.config = config
        self.guard = Guard(config.delivery.allow_networks, config.delivery.allow_http)

    def check_url(self, url: str) -> str | None:
        """What is wrong with it."""
        try:
            self.guard.check_url(url)
        except BlockedError as why:
            return str(why)
        return None

    def seal(self, id_: UUID, secrets: Sealed) -> bytes:
        return sealed.seal(self.vault, id_, secrets)

    def unseal(self, one: Subscription) -> Sealed:
        """Raises UndecryptableError."""
        return sealed.unseal(self.vault, one.id, one.sealed)

    def allowed_accounts(self, subscriber: str) -> list[str]:
        """Return the patterns of the accounts that a subscriber may see now; none if it is not configured any more."""
        if subscriber == OPERATOR:
            return ["*"]
        found = self.config.subscribers.get(subscriber)
        return list(found.accounts) if found else []

    def may_send(self, subscriber: str, account: str) -> str | None:
        """Return why events of an account may not be sent to a subscriber now, or None."""
        if subscriber != OPERATOR and subscriber not in self.config.subscribers:
            return f"the subscriber {subscriber} is not configured any more"
        if not fits(account, self.allowed_accounts(subscriber)):
            return f"the subscriber may not see events of {account} any more"
        return None

    async def check_quota(self, connection: Connection, caller: Caller) -> None:
        """Raises ProblemError: 409 where the caller has as many subscriptions as it may have."""
        limit = self.config.api.max_subscriptions
        if not caller.operator and await subscriptions.count(connection, caller.subscriber) >= limit:
            raise ProblemError(
                409,
                f"You have {limit} subscriptions, and no more are allowed; delete one that you no longer need, or ask "
                "the operator to raise [api] max_subscriptions.",
            )


async def body(request: web.Request, shape: type[T], *, of_any_type: bool = False) -> T:
    """The request's JSON. `of_any_type`: whatever its Content-Type says. Raises ProblemError."""
    content_type = request.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
    if not of_any_type and content_type != "application/json" and not content_type.endswith("+json"):
        raise ProblemError(415, "Send JSON, with Content-Type: application/json.")
    raw, _ = encodings.by_mark(await read(request))  # .NET clients write a byte order mark
    try:
        raw.decode()  # the decoder doesn't look into what it skips
        decoded = msgspec.json.decode(raw, type=shape)
    except msgspec.DecodeError as error:
        raise unreadable(error) from None
    except (UnicodeDecodeError, RecursionError):
        raise ProblemError(400, "The body is not JSON.") from None
    values.check(decoded)
    return decoded


async def read(request: web.Request) -> bytes:
    """The body, once. Raises ProblemError: 400, 408, 413, 415."""
    raw = request.get(_RAW)
    if raw is None:
        if encodings.is_encoded(request.headers.getall(hdrs.CONTENT_ENCODING, ())):
            raise ProblemError(415, "Send the body without Content-Encoding.")
        if (request.content_length or 0) > MAX_BODY:
            raise ProblemError(413, "The body is too large.")
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                raw = request[_RAW] = await _all_of(request)
        except TimeoutError:
            raise ProblemError(408, "The body did not arrive in time.") from None
        except (ConnectionError, HttpProcessingError, web.RequestPayloadError):
            raise ProblemError(400, "The body broke off.") from None
    return raw


async def _all_of(request: web.Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > MAX_BODY:
            raise ProblemError(413, "The body is too large.")
        parts.append(part)
    return b"".join(parts)


def answer(said: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON, kept by nobody."""
    return web.Response(
        status=status,
        body=_encode(said),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def identity(request: web.Request, name: str = "id") -> UUID:
    """Return the ID from the path. A text that is not an ID belongs to nobody: 404."""
    try:
        return UUID(request.match_info[name])
    except ValueError:
        raise ProblemError(404, NOT_FOUND) from None


def require_dialect(name: str) -> Dialect:
    """Raises ProblemError: 400."""
    try:
        return get_dialect(name)
    except LookupError as error:
        raise invalid({"dialect": str(error)}) from None


def accounts(caller: Caller, asked: list[str] | None) -> list[str]:
    """Patterns within what the caller may see; all of that when nothing is asked for. Raises ProblemError: 400."""
    if asked is None:
        return list(caller.accounts)
    wrong = [one for one in asked if not (one in caller.accounts or _within(one, caller.accounts))]
    if wrong:
        raise invalid({"accounts": f"{wrong[0]!r} is not among yours: {', '.join(caller.accounts)}"})
    return asked


def _within(pattern: str, allowed: tuple[str, ...]) -> bool:
    """Whether all that a pattern may stand for is allowed: read as a name, its stars are just characters."""
    return fits(pattern, allowed)


def fresh_secret(one: Dialect, brought: str | None) -> str | None:
    """The subscriber's own, checked; else a new one; None where the dialect has none. Raises ProblemError: 400."""
    if brought is not None:
        if one.make_secret is None:
            raise invalid({"secret": f"dialect {one.name} uses none"})
        wrong = one.check_secret(brought)
        if wrong is not None:
            raise invalid({"secret": wrong})
        return brought
    return None if one.make_secret is None else one.make_secret()


def rotated(one: Dialect, old: Sealed, new: str) -> Sealed:
    """Return the secrets with a new one in front.

    Where a webhook can carry several signatures, the others go on signing: the one that was the newest for OVERLAP
    seconds from now, older ones until their own time is over. Raises ProblemError: 409 where those are too many.
    """
    kept: list[Secret] = []
    if one.two_secrets:
        now = time.time()
        kept = [
            msgspec.structs.replace(secret, until=now + OVERLAP if secret.until is None else secret.until)
            for secret in old.secrets
            if secret.until is None or secret.until > now
        ]
    if len(kept) >= MOST_SECRETS:
        raise ProblemError(
            409,
            f"{MOST_SECRETS} secrets of the last 24 hours still sign, and each webhook carries the signatures of all; "
            "rotate again when the oldest has expired.",
        )
    return msgspec.structs.replace(old, secrets=(Secret(secret=new), *kept))


def new_id() -> UUID:
    return uuid4()
