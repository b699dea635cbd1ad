"""Who is logged in: a sealed cookie, a proxy's header, or a link that logs in once.

No session is stored. The cookie holds the operator's name, when it expires, and a digest of the token, so that a reload
that changes the token logs the operator out. The role is that of the configuration at the time of each request.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Literal, TypeVar
from uuid import UUID, uuid4

import msgspec
from aiohttp import web

from ingress.proxies import Proxies
from schemas import config as settings
from schemas.config import Config
from schemas.lenient import composed
from storage.vault import UndecryptableError, Vault

T = TypeVar("T")

Role = Literal["read", "act"]

COOKIE, SECURE_COOKIE = "crossdock", "__Host-crossdock"
"""Names of the cookie over plain HTTP and over HTTPS; browsers accept the second over HTTPS only."""
LIFETIME = 8 * 3600.0
"""Seconds after which an operator has to log in again."""
LINK_LIFETIME = 12 * 3600.0
"""Seconds for which a link that logs in once is valid."""
OPERATOR = "operator"
"""The operator whose token is `[api] operator_token`."""
LOCAL = "local"
"""The operator that `crossdock up` makes if none is configured."""
_SESSION, _LINK = b"console session", b"console link"


class Operator(msgspec.Struct, frozen=True):
    """An operator who is logged in."""

    name: str
    role: Role


class _Session(msgspec.Struct, frozen=True):
    name: str
    expires_at: float
    digest: bytes


class Link(msgspec.Struct, frozen=True):
    """A link that logs in an operator once."""

    id: UUID
    name: str
    expires_at: float


def operators(config: Config, console_token: str | None = None) -> dict[str, settings.Operator]:
    """Return everybody who may log in, by name. `console_token`: of the operator LOCAL, if nobody is configured."""
    by_name = dict(config.operators)
    if config.api.operator_token:
        by_name.setdefault(OPERATOR, settings.Operator(token=config.api.operator_token, role="act"))
    if not by_name and console_token:
        by_name[LOCAL] = settings.Operator(token=console_token, role="act")
    return by_name


def make_link(vault: Vault, name: str) -> str:
    """Return the value of `once` in a link that logs in an operator once, within LINK_LIFETIME seconds."""
    return _sealed(vault, Link(uuid4(), name, time.time() + LINK_LIFETIME), _LINK)


class Sessions:
    """Recognizes operators, by the configuration."""

    def __init__(self, config: Config, vault: Vault, console_token: str | None = None) -> None:
        self._vault = vault
        self._console_token = console_token
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Use these operators and proxies from now on."""
        self.operators: Mapping[str, settings.Operator] = operators(config, self._console_token)
        self._proxies = Proxies(config.console.trusted_proxies)
        self._user_header = config.console.user_header

    def client(self, request: web.Request) -> str:
        """Return the address of the client, which may be behind a trusted proxy."""
        return self._proxies.client(request)

    def is_secure(self, request: web.Request) -> bool:
        """Return whether the browser uses HTTPS, up to a trusted proxy."""
        if self._proxies.is_behind(request):
            return request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower() == "https"
        return request.secure

    def current(self, request: web.Request) -> Operator | None:
        """Return the operator who sends this request, or None."""
        if self._user_header is not None and self._proxies.is_behind(request):
            names = [name.strip() for name in request.headers.getall(self._user_header, ())]
            if any(names):
                # Two of them: the proxy has added its own to one that its client sent.
                return self._named(names[0]) if len(names) == 1 else None
        sealed = request.cookies.get(SECURE_COOKIE if self.is_secure(request) else COOKIE)
        session = None if not sealed else _unsealed(self._vault, sealed, _SESSION, _Session)
        if session is None or session.expires_at < time.time():
            return None
        configured = self.operators.get(session.name)
        if configured is None or not hmac.compare_digest(_digest(configured), session.digest):
            return None
        return Operator(session.name, configured.role)

    def by_token(self, token: str) -> Operator | None:
        """Return the operator with this token, or None. The time that it takes does not reveal which one was close."""
        sent = composed(token).encode("utf-8", "surrogatepass")
        operator: Operator | None = None
        for name, configured in self.operators.items():
            if configured.token and hmac.compare_digest(sent, composed(configured.token).encode()):
                operator = Operator(name, configured.role)
        return operator

    def link(self, once: str) -> Link | None:
        """Return what a link contains, or None if it is not ours or has expired. It may have been used."""
        link = _unsealed(self._vault, once, _LINK, Link)
        return link if link is not None and link.expires_at >= time.time() else None

    def linked(self, link: Link) -> Operator | None:
        """Return the operator whom a link logs in, or None if there is no such operator any more."""
        return self._named(link.name)

    def log_in(self, request: web.Request, response: web.StreamResponse, operator: Operator) -> None:
        """Set the cookie of a new session."""
        is_secure = self.is_secure(request)
        session = _Session(operator.name, time.time() + LIFETIME, _digest(self.operators[operator.name]))
        response.set_cookie(
            SECURE_COOKIE if is_secure else COOKIE,
            _sealed(self._vault, session, _SESSION),
            httponly=True,
            secure=is_secure,
            samesite="Strict",
            path="/",
        )

    def log_out(self, request: web.Request, response: web.StreamResponse) -> None:
        """Remove the cookie of the session."""
        is_secure = self.is_secure(request)
        response.set_cookie(
            SECURE_COOKIE if is_secure else COOKIE,
            "",
            max_age=0,
            httponly=True,
            secure=is_secure,
            samesite="Strict",
            path="/",
        )

    def _named(self, name: str) -> Operator | None:
        configured = self.operators.get(name)
        return None if configured is None else Operator(name, configured.role)


def _digest(operator: settings.Operator) -> bytes:
    return hashlib.blake2b((operator.token or "").encode(), digest_size=16, person=b"console").digest()


def _sealed(vault: Vault, value: msgspec.Struct, binding: bytes) -> str:
    return base64.urlsafe_b64encode(vault.encrypt(msgspec.json.encode(value), binding)).decode().rstrip("=")


def _unsealed(vault: Vault, text: str, binding: bytes, shape: type[T]) -> T | None:
    try:
        sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(vault.decrypt(sealed, binding), type=shape)
    except (binascii.Error, ValueError, UndecryptableError, msgspec.DecodeError):
        return None
