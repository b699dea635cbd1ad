"""Authentication of subscribers by name and password, and of the operator by its token.

`ingress.logins` slows down guessing.
"""

import base64
import binascii
import hmac
import time
from collections.abc import Callable

import msgspec
from aiohttp import hdrs, web

from ingress.api.errors import ProblemError, retry_later
from ingress.logins import TURN, LoginLimiter, TooManyFailuresError
from ingress.proxies import Proxies
from schemas.config import Config
from schemas.lenient import composed
from schemas.outbound import OPERATOR

EVERYTHING = ("*",)

_OPERATORS_NAME = b"\0operator"
"""Name under which failures of the operator's token are counted, which no subscriber can have."""


class Caller(msgspec.Struct, frozen=True):
    """A client that has been authenticated."""

    subscriber: str
    """Its name in the configuration; OPERATOR for the operator."""
    accounts: tuple[str, ...]
    """Patterns of the accounts that the caller may see."""
    operator: bool = False

    @property
    def owner(self) -> str | None:
        """The subscriber whose rows the caller sees; None for those of all subscribers."""
        return None if self.operator else self.subscriber


class Authenticator:
    """Checks credentials against the configuration."""

    def __init__(self, config: Config, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: returns seconds; tests replace it."""
        self._limiter = LoginLimiter(clock=clock)
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Use these subscribers, this token and these proxies from now on."""
        self._token = config.api.operator_token
        self._proxies = Proxies(config.api.trusted_proxies)
        self._subscribers = [
            (name, _normal(subscriber.username), _normal(subscriber.password), tuple(subscriber.accounts))
            for name, subscriber in config.subscribers.items()
        ]

    def client(self, request: web.Request) -> str:
        """Return the address of the client, which may be behind one of `[api] trusted_proxies`."""
        return self._proxies.client(request)

    async def authenticate(self, request: web.Request) -> Caller:
        """Return the caller. Raises ProblemError: 401, or 429 after too many failures."""
        scheme, _, value = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        is_operator = scheme.lower() == "bearer"
        if is_operator:
            name, password = _OPERATORS_NAME, value.strip().encode("utf-8", "surrogateescape")
        else:
            name, password = _credentials(request, scheme, value)
        pair = self._limiter.pair(self.client(request), name)
        try:
            is_slowed = await self._limiter.wait_for_turn(pair)
        except TooManyFailuresError as error:
            raise _too_many(error) from None
        caller = self._find_operator(password) if is_operator else self._find_subscriber(name, password)
        if caller is not None:
            self._limiter.succeeded(pair)
            return caller
        if name or password:
            self._limiter.failed(pair)
        if is_slowed:
            raise _too_many(TooManyFailuresError(TURN))
        raise ProblemError(
            401,
            "Log in with a subscriber's name and password.",
            headers={"WWW-Authenticate": 'Basic realm="crossdock"'},
        )

    def _find_operator(self, token: bytes) -> Caller | None:
        if self._token and hmac.compare_digest(token, self._token.encode()):
            return Caller(OPERATOR, EVERYTHING, operator=True)
        return None

    def _find_subscriber(self, name: bytes, password: bytes) -> Caller | None:
        caller: Caller | None = None
        (name_utf8, name_latin1), (password_utf8, password_latin1) = _readings(name), _readings(password)
        for subscriber, username, secret, accounts in self._subscribers:
            # All of them, and both parts of each in both encodings, so that the time doesn't reveal what was correct.
            is_utf8 = hmac.compare_digest(username, name_utf8) & hmac.compare_digest(secret, password_utf8)
            is_latin1 = hmac.compare_digest(username, name_latin1) & hmac.compare_digest(secret, password_latin1)
            if (is_utf8 | is_latin1) and name and password:
                caller = Caller(subscriber, accounts)
        return caller


def _credentials(request: web.Request, scheme: str, value: str) -> tuple[bytes, bytes]:
    """Return name and password from HTTP Basic, or from the headers that eComNow's clients send."""
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return b"", b""
        return name, password
    name, password = (
        request.headers.get(header, "").encode("utf-8", "surrogateescape") for header in ("Username", "Password")
    )
    return name, password


def _normal(text: str) -> bytes:
    """Return a name or password in the form in which they are compared: UTF-8 and Unicode's form NFC."""
    return composed(text).encode("utf-8", "surrogateescape")


def _readings(sent: bytes) -> tuple[bytes, bytes]:
    """Return a name or password as it is compared, if it was sent in UTF-8 and if it was sent in Latin-1.

    RFC 7617 leaves the encoding open. Browsers and curl use UTF-8, Python's requests and aiohttp use Latin-1.
    """
    return _normal(sent.decode("utf-8", "surrogateescape")), _normal(sent.decode("latin-1"))


def _too_many(error: TooManyFailuresError) -> ProblemError:
    return retry_later(429, str(error), seconds=error.seconds)
