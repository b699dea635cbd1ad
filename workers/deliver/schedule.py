"""When the next attempt of a delivery is due. Pure."""

from collections.abc import Sequence

JITTER = 0.1
"""Part of a delay by which it may be shorter or longer, so that what failed together does not come back together."""
LONGEST_WAIT = 86_400.0
"""Seconds that a Retry-After may put off an attempt (contract §6)."""


def next_attempt(
    schedule: Sequence[float],
    attempt: int,
    *,
    forever: bool,
    interval: float,
    retry_after: float | None,
    jitter: float,
) -> float | None:
    """Seconds until the next attempt after attempt number `attempt` failed; None when there is to be none: failed.

    `attempt` 0 gives the delay before the first one, which is `schedule`'s first entry. `forever` (dialect
    `channelape`: "every 15 min until success or a person cancels") uses `interval` seconds instead, without end.
    `jitter` from -1 to 1 shifts a delay by up to 10 %. A later `retry_after` (seconds) wins, to a day; it counts as
    an attempt like any other.

    The default schedule, without jitter and the time that attempts take:

    | attempt | seconds after the one before | since the event |
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

    So a restart is bridged within seconds, an outage within a working day, and a weekend before Monday is over.
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
