"""Who asks: a subscriber by name and password, or the operator by its token. Guessing is slowed down."""

import base64
import binascii
import hmac
import time
from collections import deque

import msgspec
from aiohttp import hdrs, web

from ingress.api.errors import Problem
from schemas.config import Config
from schemas.outbound import OPERATOR

EVERYTHING = ("*",)

FAILURES, WINDOW = 10, 60.0
"""Failed log-ins from one address within so many seconds; further ones aren't looked at."""
NAME_FAILURES = 100
"""The same for one name, from wherever: enough that nobody is locked out by a stranger's few guesses."""
NAME_BYTES = 64
"""Of a name that is remembered: a header holds up to eight thousand, and REMEMBERED times that is too much memory."""
REMEMBERED = 10_000
"""Addresses and names with failures: beyond, the longest known are forgotten rather than memory used up."""


class Caller(msgspec.Struct, frozen=True):
    """Who is logged in."""

    subscriber: str
    """Its name in the configuration; OPERATOR for the operator."""
    accounts: tuple[str, ...]
    """Patterns of the accounts that it may see."""
    operator: bool = False

    @property
    def owner(self) -> str | None:
        """Whose rows it sees; None: everybody's."""
        return None if self.operator else self.subscriber


class Doorman:
    """Checks credentials against a configuration."""

    def __init__(self, config: Config) -> None:
        self._failed: dict[str, deque[float]] = {}
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Goes by these subscribers from now on."""
        self._token = config.api.operator_token
        self._subscribers = [
            (name, one.username.encode(), one.password.encode(), tuple(one.accounts))
            for name, one in config.subscribers.items()
        ]

    def caller(self, request: web.Request) -> Caller:
        """Raises Problem: 401, or 429 after too many failures."""
        scheme, _, said = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        address = request.remote or ""
        if scheme.lower() == "bearer":
            self._check(address)
            if self._token and hmac.compare_digest(
                said.strip().encode("utf-8", "surrogateescape"), self._token.encode()
            ):
                return Caller(OPERATOR, EVERYTHING, operator=True)
            self._count(address)
            raise _unauthorized()
        name, password = _credentials(request, scheme, said)
        known = f"name {name[:NAME_BYTES]!r}"
        self._check(address)
        self._check(known, NAME_FAILURES)
        found: Caller | None = None
        for subscriber, username, secret, accounts in self._subscribers:
            # All of them, and both parts of each: the time says nothing about which part was right.
            right = hmac.compare_digest(username, name) & hmac.compare_digest(secret, password)
            if right and name and password:
                found = Caller(subscriber, accounts)
        if found is None:
            if name or password:
                self._count(address, known)
            raise _unauthorized()
        return found

    def _check(self, who: str, most: int | None = None) -> None:
        now = time.monotonic()
        failed = self._failed.get(who)
        while failed and now - failed[0] > WINDOW:
            failed.popleft()
        if failed and len(failed) >= (most or FAILURES):
            wait = str(int(WINDOW - (now - failed[0])) + 1)
            raise Problem(429, "Too many failed log-ins; wait and try again.", headers={"Retry-After": wait})

    def _count(self, *who: str) -> None:
        for one in who:
            failed = self._failed.pop(one, None) or deque(maxlen=NAME_FAILURES)
            failed.append(time.monotonic())
            self._failed[one] = failed  # last in the order of forgetting
        while len(self._failed) > REMEMBERED:
            del self._failed[next(iter(self._failed))]


def _credentials(request: web.Request, scheme: str, said: str) -> tuple[bytes, bytes]:
    """HTTP Basic, or the headers `Username` and `Password` as eComNow's clients send them."""
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(said.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return b"", b""
        return name, password
    encoded = (
        request.headers.get(header, "").encode("utf-8", "surrogateescape") for header in ("Username", "Password")
    )
    name, password = encoded
    return name, password


def _unauthorized() -> Problem:
    return Problem(
        401, "Log in with a subscriber's name and password.", headers={"WWW-Authenticate": 'Basic realm="crossdock"'}
    )
