"""A token bucket for a subscription's `max_rate`. Pure."""

_ENOUGH = 1 - 1e-9
"""The fraction of a token that counts as a whole one.

Because of rounding, the sum may be just below 1 at exactly the time that `delay` returned.
"""


class Bucket:
    """A bucket that receives `max_rate` tokens per second and holds those of one second, but at least one."""

    def __init__(self, max_rate: float | None, now: float = 0.0) -> None:
        """Create a full bucket at `now` (monotonic seconds).

        `max_rate` is the number of deliveries per second, or None for no limit. Raises ValueError if it is not above 0.
        """
        if max_rate is not None and not max_rate > 0:
            raise ValueError("max_rate must be over 0; leave it out for no limit")
        self._rate = max_rate
        self.is_unlimited = max_rate is None
        self._burst = max(1.0, max_rate or 0.0)
        self._tokens = self._burst
        self._at = now

    def delay(self, now: float) -> float:
        """Return the seconds until a token is available; 0 if one is available now."""
        if self._rate is None:
            return 0.0
        tokens = self._filled(now)
        return 0.0 if tokens >= _ENOUGH else (1 - tokens) / self._rate

    def available(self, now: float) -> int | None:
        """Return how many deliveries may start now; None if there is no limit."""
        return None if self._rate is None else int(self._filled(now) / _ENOUGH)

    def take(self, now: float) -> None:
        """Take a token, even if none is available.

        The next delivery then waits longer, so the rate still holds on average.
        """
        if self._rate is None:
            return
        self._tokens = self._filled(now) - 1
        self._at = max(self._at, now)

    def _filled(self, now: float) -> float:
        assert self._rate is not None
        return min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
