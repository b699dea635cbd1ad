"""Authentication of subscribers by name and password, and of the operator by its token. Guessing is slowed down.

Correct credentials always work. Failures are counted per client address *and* name, so that a stranger's guesses slow
down only the stranger: other names behind the same address, and the same name from other addresses, are not affected.
After too many failures, attempts of that pair are checked one at a time, a second apart, whether correct or not.
"""

import asyncio
import base64
import binascii
import hmac
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network, ip_address

import msgspec
from aiohttp import hdrs, web

from ingress.api.errors import ProblemError, retry_later
from ingress.api.proxies import Proxies
from schemas.config import Config
from schemas.lenient import composed
from schemas.outbound import OPERATOR

EVERYTHING = ("*",)

FAILURES, WINDOW = 10, 60.0
"""Failed log-ins of one address and name within WINDOW seconds, after which their attempts are queued."""
NAME_FAILURES = 100
"""The same for one name over all addresses that it has never logged in from: guessing from many addresses."""
TURN = 1.0
"""Seconds between two queued attempts."""
LONGEST_WAIT = 10.0
"""Maximum seconds that an attempt is queued; one that would wait longer is rejected unchecked."""
NAME_BYTES = 64
"""Bytes of a name that are stored: a header holds up to 8,000, and REMEMBERED times that is too much memory."""
REMEMBERED = 10_000
"""Maximum number of pairs and names that are stored; beyond that, the least recently used are dropped."""
IPV6_PREFIX = 64
"""Bits of an IPv6 address that are compared: a client with one address has all that share them."""

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


class _Failures:
    """The recent failed attempts of one name, or of one address and name."""

    __slots__ = ("at", "next_turn")

    def __init__(self) -> None:
        self.at: deque[float] = deque(maxlen=NAME_FAILURES)
        self.next_turn = 0.0

    def count(self, now: float) -> int:
        while self.at and now - self.at[0] > WINDOW:
            self.at.popleft()
        return len(self.at)


class Authenticator:
    """Checks credentials against the configuration."""

    def __init__(self, config: Config, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: returns seconds; tests replace it."""
        self._clock = clock
        self._failed: OrderedDict[tuple[str, bytes], _Failures] = OrderedDict()
        self._known: OrderedDict[tuple[str, bytes], None] = OrderedDict()
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
        pair = (_network(self.client(request)), name[:NAME_BYTES])
        is_slowed = await self._wait_for_turn(pair)
        caller = self._find_operator(password) if is_operator else self._find_subscriber(name, password)
        if caller is not None:
            self._remember(pair)
            return caller
        if name or password:
            self._count(pair)
        if is_slowed:
            raise _too_many(TURN)
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

    async def _wait_for_turn(self, pair: tuple[str, bytes]) -> bool:
        """Wait if there have been too many failures; return whether there have been. Raises ProblemError: 429.

        The credentials are not checked before, because an immediate response would tell a guesser the result.
        """
        now = self._clock()
        slowed = []
        failures = self._failed.get(pair)
        if failures is not None and failures.count(now) >= FAILURES:
            slowed.append(failures)
        if pair not in self._known:
            failures = self._failed.get(("", pair[1]))
            if failures is not None and failures.count(now) >= NAME_FAILURES:
                slowed.append(failures)
        if not slowed:
            return False
        turn = max(now, *(failures.next_turn for failures in slowed))
        if turn - now > LONGEST_WAIT:
            raise _too_many(turn - now)
        for failures in slowed:
            failures.next_turn = turn + TURN
        await asyncio.sleep(turn - now)
        return True

    def _remember(self, pair: tuple[str, bytes]) -> None:
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _count(self, pair: tuple[str, bytes]) -> None:
        now = self._clock()
        for key in (pair, ("", pair[1])):
            failures = self._failed.get(key)
            if failures is None:
                failures = self._failed[key] = _Failures()
            failures.at.append(now)
            self._failed.move_to_end(key)
        while len(self._failed) > REMEMBERED:
            self._failed.popitem(last=False)


def _network(address: str) -> str:
    """Return the key that failures are counted by: an IPv4 address, or the network of an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64] or "-"
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Network((parsed, IPV6_PREFIX), strict=False))
    return str(parsed)


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


def _too_many(seconds: float) -> ProblemError:
    return retry_later(429, "Too many failed log-ins; wait and try again.", seconds=max(1, round(seconds)))
