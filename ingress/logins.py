"""Slows down the guessing of credentials, for the API and for the console.

Correct credentials always work. Failures are counted per client address *and* name, so that a stranger's guesses slow
down only the stranger: other names behind the same address, and the same name from other addresses, are not affected.
After too many failures, attempts of that pair are checked one at a time, a second apart, whether correct or not.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network, ip_address

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


Pair = tuple[str, bytes]
"""The key of an address, and the name, that failures are counted by."""


class TooManyFailuresError(Exception):
    """An attempt is rejected unchecked; `seconds` is when it may be repeated."""

    def __init__(self, seconds: float) -> None:
        super().__init__("Too many failed log-ins; wait and try again.")
        self.seconds = max(1, round(seconds))


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


class LoginLimiter:
    """Counts failed log-ins, and lets attempts wait for their turn after too many."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: returns seconds; tests replace it."""
        self._clock = clock
        self._failed: OrderedDict[Pair, _Failures] = OrderedDict()
        self._known: OrderedDict[Pair, None] = OrderedDict()

    @staticmethod
    def pair(address: str, name: bytes) -> Pair:
        """Return what the failures of a client are counted by; `name` may have any length."""
        return _network(address), name[:NAME_BYTES]

    async def wait_for_turn(self, pair: Pair) -> bool:
        """Wait if there have been too many failures; return whether there have been. Raises TooManyFailuresError.

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
            raise TooManyFailuresError(turn - now)
        for failures in slowed:
            failures.next_turn = turn + TURN
        await asyncio.sleep(turn - now)
        return True

    def succeeded(self, pair: Pair) -> None:
        """Remember that this client has logged in, so that guesses from elsewhere do not slow it down."""
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def failed(self, pair: Pair) -> None:
        """Count a failed log-in."""
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
