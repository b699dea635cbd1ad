"""A circuit breaker for each subscription: one that does not answer is left alone for a while. Pure.

It protects us more than them: every attempt at a dead server holds a slot for the whole time-out.
"""

from typing import Literal

from workers.deliver.attempt.answer import Outcome

THRESHOLD = 5
"""Failures in a row that open it. A restart behind a load balancer fails a few calls; a server that is down fails all,
and with a time-out of 15 s five of them, one after the other, are 75 s of waiting."""
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0
"""Seconds. Pauses of 5, 10, 20, 40, 80, 160, 300, 300, …: the first is over when a restart is; a subscriber that comes
back is noticed within five minutes, and a dead one costs at most twelve probes an hour."""

State = Literal["closed", "open", "half-open"]


def counts(outcome: Outcome, status: int | None) -> bool:
    """Whether an attempt's end is a failure here: no answer, or one that says "not now" (429, 5xx).

    Any other answer, a 4xx too, is the subscriber's considered one: `succeeded`. A `blocked` attempt never left:
    `abandoned`.
    """
    if outcome == "refused":
        return status is not None and (status == 429 or status >= 500)
    return outcome in ("timeout", "connection", "tls")


class Breaker:
    """Call `started` before an attempt that `allows` permitted, then exactly one of `succeeded`, `failed`, `abandoned`.

    All times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._opened = 0
        """Times it opened in a row, and so how long the pause is."""
        self._until = 0.0
        """When the pause is over; while a probe is under way: when it is given up for lost."""
        self.state: State = "closed"
        """Stays `open` when the pause is over; a probe makes it `half-open`."""

    def allows(self, now: float) -> bool:
        """Whether an attempt may start: any while closed, none in a pause, one after it."""
        # A probe whose end was never told must not shut a subscription for ever: past the longest pause it is lost.
        return self.state == "closed" or now >= self._until

    def opens_at(self, now: float) -> float:
        """Seconds until it is worth asking `allows` again; 0 if it is now; a first pause while a probe is under way."""
        if self.allows(now):
            return 0.0
        return min(self._until - now, FIRST_PAUSE) if self.state == "half-open" else self._until - now

    def started(self, now: float) -> None:
        """An attempt begins. The first one after a pause is the probe."""
        if self.state != "closed" and now >= self._until:
            self.state = "half-open"
            self._until = now + LONGEST_PAUSE

    def succeeded(self) -> None:
        """An answer came. Also from an attempt that began before it opened: whoever answers is there."""
        self._failures = self._opened = 0
        self.state = "closed"

    def failed(self, now: float) -> None:
        """An attempt failed in a way that `counts`."""
        self._failures += 1
        # While open, only attempts begun before are still to end; they tell nothing new, and prolong nothing.
        if self.state == "half-open" or (self.state == "closed" and self._failures >= THRESHOLD):
            self.state = "open"
            self._until = now + min(FIRST_PAUSE * 2 ** min(self._opened, 16), LONGEST_PAUSE)
            self._opened += 1

    def abandoned(self, now: float) -> None:
        """An attempt ended and told nothing of the subscriber: cancelled, or blocked. The next may be the probe."""
        if self.state == "half-open":
            self.state = "open"
            self._until = now
