"""The circuit breaker of a subscription: it stops attempts for a while if the server does not respond. Pure.

It protects the worker more than the subscriber, because every attempt at a dead server occupies a slot for the whole
time-out.
"""

from typing import Literal

from workers.deliver.attempt.result import Outcome

THRESHOLD = 5
"""Number of consecutive failures that open the breaker.

A restart behind a load balancer makes a few calls fail, a server that is down makes all of them fail. With a time-out
of 15 s, five consecutive failures mean 75 s of waiting.
"""
FIRST_PAUSE = 5.0
"""Seconds of the first pause, about the time that a server needs to restart."""
LONGEST_PAUSE = 300.0
"""Maximum seconds of a pause; each pause is twice the one before (5, 10, 20, 40, 80, 160, 300, 300, …).

A recovered server is therefore noticed within five minutes, and a dead one costs at most twelve probes per hour.
"""

State = Literal["closed", "open", "half-open"]


def is_failure(outcome: Outcome, status: int | None) -> bool:
    """Return whether the result of an attempt is a failure for the breaker.

    Failures are a missing response and the statuses 429 and 5xx. Any other response, including any other 4xx, shows
    that the server works: the caller then calls `succeeded`. An attempt with the outcome `blocked` sent nothing: the
    caller then calls `abandoned`.
    """
    if outcome == "refused":
        return status is not None and (status == 429 or status >= 500)
    return outcome in ("timeout", "connection", "tls")


class Breaker:
    """The state of one circuit breaker. All times are monotonic seconds.

    Call `started` before an attempt that `allows` permitted, then exactly one of `succeeded`, `failed` and `abandoned`.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._opened = 0
        """How often the breaker opened since the last success, which determines the length of the pause."""
        self._until = 0.0
        """End of the pause; while a probe is under way, the time after which the probe counts as lost."""
        self.state: State = "closed"
        """State of the breaker; it remains `open` after the pause, until a probe starts and makes it `half-open`."""

    def allows(self, now: float) -> bool:
        """Return whether an attempt may start: always while closed, never during a pause, and once after it."""
        # A probe whose end is never reported must not block a subscription forever; after the longest pause it is lost.
        return self.state == "closed" or now >= self._until

    def seconds_until_allowed(self, now: float) -> float:
        """Return the seconds until `allows` should be called again; 0 if an attempt may start now.

        While a probe is under way, the result is at most FIRST_PAUSE.
        """
        if self.allows(now):
            return 0.0
        return min(self._until - now, FIRST_PAUSE) if self.state == "half-open" else self._until - now

    def started(self, now: float) -> None:
        """Record the start of an attempt; the first one after a pause is the probe."""
        if self.state != "closed" and now >= self._until:
            self.state = "half-open"
            self._until = now + LONGEST_PAUSE

    def succeeded(self) -> None:
        """Record a response, which closes the breaker, even if the attempt began before the breaker opened."""
        self._failures = self._opened = 0
        self.state = "closed"

    def failed(self, now: float) -> None:
        """Record the failure of an attempt for which `is_failure` returned true."""
        self._failures += 1
        # While the breaker is open, only attempts that began earlier can fail. They do not prolong the pause.
        if self.state == "half-open" or (self.state == "closed" and self._failures >= THRESHOLD):
            self.state = "open"
            self._until = now + min(FIRST_PAUSE * 2 ** min(self._opened, 16), LONGEST_PAUSE)
            self._opened += 1

    def abandoned(self, now: float) -> None:
        """Record an attempt that ended without a result, cancelled or blocked; the next one may be the probe."""
        if self.state == "half-open":
            self.state = "open"
            self._until = now
