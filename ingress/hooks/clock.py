"""When a request was received: by the wall clock, but never earlier than the request before it.

Versions are ordered by this moment. A wall clock that is set back must not make a corrected document older than the one
that it corrects.
"""

import time
from collections.abc import Callable

MAX_HELD = 600.0
"""Maximum step back, in seconds, that is hidden. If the wall clock steps back by at most this much, times keep
increasing by `_STEP`; if by more, the old time was wrong, and the new one is used at once, because time must not stand
still for a day. Messages that were received while the clock was wrong by more than a minute were filed under the
database's present time (`schemas.clocks`), and so are those that are still ahead."""
_STEP = 2e-6
"""Two microseconds: times are written with six decimals, and a float of Unix seconds is exact to a quarter of one."""


class ReceiveClock:
    """The moments of one process, in Unix seconds; each is later than the one before."""

    __slots__ = ("_last", "_wall")

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._last = 0.0

    def now(self) -> float:
        """Return the present moment."""
        wall = self._wall()
        last = self._last
        # Not above: the clock has gone back, or two requests share a microsecond.
        self._last = wall if wall > last or last - wall > MAX_HELD else last + _STEP
        return self._last
