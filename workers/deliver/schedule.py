"""Calculates when the next attempt of a delivery is due. Pure."""

import msgspec

JITTER = 0.1
"""Maximum fraction of a delay that is added or subtracted, so that what failed together is not retried together."""
LONGEST_WAIT = 86_400.0
"""Maximum seconds that a Retry-After header may delay an attempt (contract §6)."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """Decides when the deliveries of one subscription are attempted.

    The default schedule, without jitter and without the time that the attempts take:

    | attempt | seconds after the previous one | since the event |
    |---|---|---|
    | 1 | 0 | 0 s |
    | 2 | 5 | 5 s |
    | 3 | 300 | 5 min 5 s |
    | 4 | 1,800 | 35 min 5 s |
    | 5 | 7,200 | 2 h 35 min |
    | 6 | 18,000 | 7 h 35 min |
    | 7 | 36,000 | 17 h 35 min |
    | 8 | 50,400 | 1 d 7 h 35 min |
    | 9 | 72,000 | 2 d 3 h 35 min |
    | 10 | 86,400 | 3 d 3 h 35 min, then failed |

    A subscriber that was restarted therefore gets its deliveries within seconds, one that had an outage within a
    working day, and one that was down over a weekend before the end of Monday.
    """

    schedule: tuple[float, ...]
    """Seconds before each attempt, counted from the previous one; an empty schedule still means one attempt."""
    interval_seconds: float | None = None
    """Seconds between attempts that are repeated without end; None if `schedule` applies.

    Dialect `channelape` requires it: "every 15 min until success or a person cancels".
    """

    def next_attempt(self, attempt: int, *, retry_after: float | None, jitter: float) -> float | None:
        """Return the seconds until the next attempt, after attempt number `attempt` failed; None if it was the last.

        For `attempt` 0, the result is the delay before the first attempt. `jitter`, between -1 and 1, changes a delay
        by up to 10 %. A `retry_after` (seconds) that is longer than the delay replaces it, up to one day, and the
        attempt counts like any other.
        """
        if attempt == 0 and (self.interval_seconds is not None or not self.schedule):
            delay = 0.0
        elif self.interval_seconds is not None:
            delay = self.interval_seconds
        elif attempt < len(self.schedule):
            delay = self.schedule[attempt]
        else:
            return None
        return max(delay * (1 + JITTER * jitter), min(retry_after or 0.0, LONGEST_WAIT))
