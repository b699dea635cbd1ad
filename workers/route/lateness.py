"""How long a request has waited, without comparing the wall clocks of two machines.

The ingress sends its monotonic clock with each request (header `clock`), and how long its sender waits (`deadline` less
`received-at`, both by the same clock). The difference between that clock and ours is the smallest one that was observed
among the requests of the same ingress, because the quickest of them hardly waited. A request has waited for as long as
its own difference exceeds the smallest one.

A message's time to live (AMQP `expiration`) would be measured by the broker alone. But the request and the copy that is
stored are one message, so the store's copy would expire with it; and a message that expires in `crossdock.route.*` is
dead-lettered to `crossdock.dead`.
"""

import time
from collections.abc import Callable

from schemas.envelope import Envelope

DRIFT = 0.001
"""Seconds per second by which a known difference may grow. It is ten times the drift of quartz clocks, so that drift
never makes a request count as late, and small enough that a late request is still noticed."""
SURELY_LATE = 600.0
"""Seconds past its deadline, by the wall clocks, after which the first request of an ingress counts as late: it
waited in the queue while no route worker ran. Wall clocks of two machines do not differ by that much unnoticed."""
KEPT = 1000
"""Maximum reply addresses whose differences are remembered. Each connection of an ingress has one of its own."""


class Lateness:
    """Decides which requests have waited too long."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._differences: dict[str, tuple[float, float]] = {}
        """Our clock less the ingress's, and when that was observed, by reply address."""

    def is_late(self, request: Envelope) -> bool:
        """Return whether the sender no longer waits for an answer."""
        if request.deadline is None or request.reply_to is None:
            return True
        if request.clock is None:  # from an ingress of an earlier version
            return request.deadline <= self._wall()
        now = self._monotonic()
        difference = now - request.clock
        known = self._differences.pop(request.reply_to, None)
        if known is None:
            while len(self._differences) >= KEPT:
                del self._differences[next(iter(self._differences))]
            self._differences[request.reply_to] = (difference, now)
            return self._wall() - request.deadline > SURELY_LATE
        smallest = min(difference, known[0] + DRIFT * (now - known[1]))
        self._differences[request.reply_to] = (smallest, now)
        return difference - smallest >= request.deadline - request.received_at.timestamp()
