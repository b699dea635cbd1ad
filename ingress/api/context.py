"""What every handler works with: the configuration, the vault, request bodies and JSON responses."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ingress import outbound
from ingress.api import values
from ingress.api.auth import Caller
from ingress.api.errors import ProblemError, invalid, not_found, unreadable
from schemas import credential_faults, encodings
from schemas.config import Config
from schemas.credential_faults import Fault
from schemas.destinations.guard import BlockedError, Guard
from schemas.dialects import get_dialect
from schemas.lenient import normalized
from schemas.outbound import Dialect
from schemas.patterns import fits
from storage import sealed, subscriptions
from storage.database import Connection
from storage.sealed import Sealed
from storage.subscriptions import Subscription
from storage.vault import Vault

_FAULTS = {
    Fault.QUOTES: "must not stand in quotes",
    Fault.HEADER_LINE: "must be the value of the header, without the header's name and the colon",
    Fault.VARIABLE: "must be the value itself, not the name of a variable",
    Fault.PLACEHOLDER: "must be the value itself, not a placeholder",
    Fault.REFERENCE: "must be the value itself, not a reference to where it is kept",
}
MAX_BODY = 64 * 1024
"""Maximum bytes of a request body."""
BODY_TIMEOUT = 10.0
"""Seconds within which the whole body must arrive."""

SUBSCRIBER = web.RequestKey("subscriber", str)
"""The caller's name, for the access log."""
_RAW = web.RequestKey("raw", bytes)

T = TypeVar("T")
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Context:
    """The configuration and the vault that requests use; the configuration may be replaced between requests."""

    def __init__(self, config: Config, vault: Vault) -> None:
        self.vault = vault
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Use this configuration from the next request on."""
        self.config = config
        self.guard = Guard(config.delivery.allow_networks, config.delivery.allow_http)

    def check_url(self, url: str) -> str | None:
        """Return why webhooks may not be sent to a URL, or None."""
        try:
            self.guard.check_url(url)
        except BlockedError as error:
            return str(error)
        return None

    def seal(self, id_: UUID, secrets: Sealed) -> bytes:
        """Return a subscription's secrets, encrypted."""
        return sealed.seal(self.vault, id_, secrets)

    def unseal(self, subscription: Subscription) -> Sealed:
        """Return a subscription's secrets. Raises UndecryptableError."""
        return sealed.unseal(self.vault, subscription.id, subscription.sealed)

    def may_send(self, subscriber: str, account: str) -> str | None:
        """Return why events of an account may not be sent to a subscriber now, or None."""
        return outbound.may_send(self.config, subscriber, account)

    async def check_quota(self, connection: Connection, caller: Caller) -> None:
        """Raise ProblemError (409) if the caller already has the maximum number of subscriptions."""
        limit = self.config.api.max_subscriptions
        if not caller.operator and await subscriptions.count(connection, caller.subscriber) >= limit:
            raise ProblemError(
                409,
                f"You have {limit} subscriptions, and no more are allowed; delete one that you no longer need, or ask "
                "the operator to raise [api] max_subscriptions.",
            )


async def body(request: web.Request, shape: type[T], *, of_any_type: bool = False) -> T:
    """Return the request's JSON. `of_any_type`: ignore its Content-Type. Raises ProblemError."""
    content_type = request.headers.get(hdrs.CONTENT_TYPE, "application/json")
    media_type = content_type.partition(";")[0].strip().lower()
    if not of_any_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise ProblemError(415, "Send JSON, with Content-Type: application/json.")
    raw = encodings.to_utf8(await read(request), content_type)
    try:
        raw.decode()  # the decoder doesn't validate the UTF-8 of what it skips
        decoded = msgspec.json.decode(raw, type=shape)
    except msgspec.DecodeError as error:
        raise unreadable(error, raw) from None
    except (UnicodeDecodeError, RecursionError):
        raise ProblemError(400, "The body is not JSON.") from None
    values.check(decoded)
    return decoded


def check_query(request: web.Request, known: Sequence[str]) -> None:
    """Raise ProblemError (400) for each query parameter that is not known, or that is given more than once."""
    if not request.query_string:
        return
    listed = f"known are {', '.join(known)}" if known else "this request has none"
    counts = Counter([name for name, _ in request.query.items()])
    errors = {name: f"is not a known query parameter; {listed}" for name in counts if name not in known}
    errors |= {name: "may be given only once" for name, count in counts.items() if name in known and count > 1}
    if errors:
        raise invalid(errors)


async def read(request: web.Request) -> bytes:
    """Return the body, which is read at the first call. Raises ProblemError: 400, 408, 413, 415."""
    raw = request.get(_RAW)
    if raw is None:
        if encodings.is_encoded(request.headers.getall(hdrs.CONTENT_ENCODING, ())):
            raise ProblemError(415, "Send the body without Content-Encoding.")
        if (request.content_length or 0) > MAX_BODY:
            raise ProblemError(413, "The body is too large.")
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                raw = request[_RAW] = await _read_all(request)
        except TimeoutError:
            raise ProblemError(408, "The body did not arrive in time.") from None
        except (ConnectionError, HttpProcessingError, web.RequestPayloadError):
            raise ProblemError(400, "The body is incomplete.") from None
    return raw


async def _read_all(request: web.Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > MAX_BODY:
            raise ProblemError(413, "The body is too large.")
        parts.append(part)
    return b"".join(parts)


def json_response(payload: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON response with `Cache-Control: no-store`."""
    return web.Response(
        status=status,
        body=_encode(payload),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def path_uuid(request: web.Request, name: str = "id") -> UUID:
    """Return the UUID from the path. Raises ProblemError (404) if it is not a UUID, because nothing has that id."""
    try:
        return UUID(normalized(request.match_info[name]))
    except ValueError:
        raise not_found() from None


def require_dialect(name: str) -> Dialect:
    """Return the dialect of this name. Raises ProblemError: 400."""
    try:
        return get_dialect(name)
    except LookupError as error:
        raise invalid({"dialect": str(error)}) from None


def check_accounts_allowed(caller: Caller, requested: list[str] | None) -> list[str]:
    """Return the requested account patterns, or all that the caller may see. Raises ProblemError: 400.

    Each pattern must be within what the caller may see: read as a name, its stars are ordinary characters.
    """
    if requested is None:
        return list(caller.accounts)
    refused = [
        pattern for pattern in requested if pattern not in caller.accounts and not fits(pattern, caller.accounts)
    ]
    if refused:
        raise invalid({"accounts": f"{refused[0]!r} is not among yours: {', '.join(caller.accounts)}"})
    return requested


def check_authorization(value: str | None) -> str | None:
    """Return what is wrong with a value of the header `Authorization`, or None."""
    if value is None:
        return None
    if not value.isascii() or not value.isprintable():
        return "must be printable ASCII, because it is sent in a header"
    credentials = value.strip()
    fault = credential_faults.fault(credentials)
    if fault is None:  # what follows the scheme, as in `Basic "abc"` and `Bearer $TOKEN`
        fault = credential_faults.fault(credentials.partition(" ")[2].strip())
    if fault is Fault.EXAMPLE or (fault is Fault.REFERENCE and "://" not in value):
        return None  # it may be what the other side has
    return None if fault is None else _FAULTS[fault]


def fresh_secret(dialect: Dialect, own: str | None) -> str | None:
    """Return the subscriber's own secret if it is valid, else a new one; None if the dialect uses none.

    Raises ProblemError: 400.
    """
    if own is None:
        return None if dialect.make_secret is None else dialect.make_secret()
    if dialect.make_secret is None:
        raise invalid({"secret": f"dialect {dialect.name} uses none"})
    problem = dialect.check_secret(own)
    if problem is not None:
        raise invalid({"secret": problem})
    return own
