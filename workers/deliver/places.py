"""Chooses the dispatchers to close when more subscriptions have work than a worker has places for. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

AT_ONCE = 100
"""Maximum number of places freed per round; those who get them have work at once, and the next round follows soon."""


class PlaceHolder(Protocol):
    """The interface of a dispatcher that occupies a place."""

    @property
    def subscriber(self) -> str: ...

    @property
    def is_idle(self) -> bool: ...

    @property
    def in_flight(self) -> int: ...

    def seconds_until_next_attempt(self, now: float) -> float:
        """Return the seconds until an attempt may start; 0 if one is under way or may start now."""
        ...


H = TypeVar("H", bound=PlaceHolder)


def choose_to_close(holders: Sequence[H], waiting: Mapping[str, int], places: int, now: float) -> list[H]:
    """Return the holders whose places are to be freed.

    `waiting` is the number of subscriptions that wait for a place, by subscriber; `places` is the number of all places.
    Holders that are idle come first, then those that only wait (open breaker, pause, low rate), the longest wait first.
    After that, subscribers with more than an equal share of places lose some to waiting subscribers with less.
    """
    free = max(0, places - len(holders))
    needed = min(sum(waiting.values()), AT_ONCE) - free
    if needed <= 0:
        return []
    waits = {index: (holder.is_idle, holder.seconds_until_next_attempt(now)) for index, holder in enumerate(holders)}
    idle = [index for index, (is_idle, wait) in waits.items() if is_idle or wait > 0]
    idle.sort(key=lambda index: waits[index], reverse=True)
    given = set(idle[:needed])
    held = Counter(holder.subscriber for index, holder in enumerate(holders) if index not in given)
    share = max(1, places // len(held.keys() | waiting.keys()))
    missing = sum(min(count, max(0, share - held[name])) for name, count in waiting.items())
    missing = min(missing, AT_ONCE) - free - len(given)
    for index in sorted(range(len(holders)), key=lambda index: holders[index].in_flight):
        if missing <= 0:
            break
        subscriber = holders[index].subscriber
        if index not in given and held[subscriber] > share:
            held[subscriber] -= 1
            given.add(index)
            missing -= 1
    return [holders[index] for index in sorted(given)]
