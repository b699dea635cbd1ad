"""Calculates when the next attempt of a delivery is due. Pure."""

from collections.abc import Sequence

JITTER = 0.1
"""Maximum fraction of a delay that is added or subtracted, so that what failed together is not retried together."""
LONGEST_WAIT = 86_400.0
"""Maximum seconds that a Retry-After header may delay an attempt (contract §6)."""


def next_attempt(
    schedule: Sequence[float],
    attempt: int,
    *,
    forever: bool,
    interval: float,
    retry_after: float | None,
    jitter: float,
) -> float | None:
    """Return the seconds until the next attempt, after attempt number `attempt` failed; None if it was the last.

    For `attempt` 0, the result is the delay before the first attempt, which is the first entry of `schedule`. If
    `forever` is true, `interval` seconds are used instead, without end (dialect `channelape`: "every 15 min until
    success or a person cancels"). `jitter`, between -1 and 1, changes a delay by up to 10 %. A `retry_after` (seconds)
    that is longer than the delay replaces it, up to one day, and the attempt counts like any other.

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
    if attempt == 0 and (forever or not schedule):
        delay = 0.0  # an empty schedule still means one attempt
    elif forever:
        delay = interval
    elif attempt < len(schedule):
        delay = schedule[attempt]
    else:
        return None
    return max(delay * (1 + JITTER * jitter), min(retry_after or 0.0, LONGEST_WAIT))
