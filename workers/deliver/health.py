"""What is known about a subscriber's server: its circuit breaker, its rate, and the pause that it requested."""

import time

import msgspec

from workers.deliver import breaker
from workers.deliver.attempt.result import AttemptResult
from workers.deliver.breaker import Breaker
from workers.deliver.rate import Bucket


class Health(msgspec.Struct):
    """The state of one subscriber's server; kept when its dispatcher is closed to free its place."""

    breaker: Breaker
    bucket: Bucket
    paused_until: float = 0.0
    """Time, in monotonic seconds, until which the server asked for a pause (Retry-After)."""

    @classmethod
    def fresh(cls, max_rate: float | None) -> "Health":
        """Return the state for a server that has not been called yet."""
        return cls(Breaker(), Bucket(max_rate, time.monotonic()))

    def wait(self, now: float) -> float:
        """Return the number of seconds until an attempt may start; 0 if one may start now."""
        if self.breaker.state == "closed" and self.bucket.is_unlimited and self.paused_until <= now:
            return 0.0  # the usual case
        return max(self.breaker.seconds_until_allowed(now), self.bucket.delay(now), self.paused_until - now)

    def started(self, now: float) -> None:
        """Record the start of an attempt."""
        self.bucket.take(now)
        self.breaker.started(now)

    def ended(self, answer: AttemptResult | None, now: float) -> None:
        """Record the end of an attempt with its result, or with None if it was cancelled."""
        if answer is None or answer.outcome == "blocked":
            self.breaker.abandoned(now)
        elif breaker.is_failure(answer.outcome, answer.status_code):
            self.breaker.failed(now)
        else:
            self.breaker.succeeded()
