"""A token bucket for a subscription's `max_rate`. Pure."""

_ENOUGH = 1 - 1e-9
"""Of a token: sums of floats come out just short of 1 at the very time that `delay` named."""


class Bucket:
    """Tokens come at `max_rate` a second; as many as come in one second, and one at least, may be saved up."""

    def __init__(self, max_rate: float | None, now: float = 0.0) -> None:
        """`max_rate`: deliveries a second, over 0; None for no limit. It starts full. `now`: monotonic seconds."""
        if max_rate is not None and not max_rate > 0:
            raise ValueError("max_rate must be over 0; leave it out for no limit")
        self._rate = max_rate
        self.is_unlimited = max_rate is None
        self._burst = max(1.0, max_rate or 0.0)
        self._tokens = self._burst
        self._at = now

    def delay(self, now: float) -> float:
        """Seconds until a token is there; 0 if one is."""
        if self._rate is None:
            return 0.0
        tokens = self._filled(now)
        return 0.0 if tokens >= _ENOUGH else (1 - tokens) / self._rate

    def available(self, now: float) -> int | None:
        """Return how many deliveries may start now; None if there is no limit."""
        return None if self._rate is None else int(self._filled(now) / _ENOUGH)

    def take(self, now: float) -> None:
        """Takes a token. One that is not there is owed: the next waits longer, and the rate holds on average."""
        if self._rate is None:
            return
        self._tokens = self._filled(now) - 1
        self._at = max(self._at, now)

    def _filled(self, now: float) -> float:
        assert self._rate is not None
        return min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
