"""Which dispatchers give up their places when more subscriptions have work than a worker has places for. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

AT_ONCE = 100
"""Places given up in one round: what moves in has work at once, and the next round follows soon."""


class Holder(Protocol):
    """Who holds a place."""

    @property
    def subscriber(self) -> str: ...

    @property
    def is_idle(self) -> bool: ...

    @property
    def in_flight(self) -> int: ...

    def resting(self, now: float) -> float:
        """Seconds for which it would only wait."""
        ...


H = TypeVar("H", bound=Holder)


def to_give_up(holders: Sequence[H], waiting: Mapping[str, int], places: int, now: float) -> list[H]:
    """Return the holders that give up their places for `waiting` subscriptions, by subscriber.

    First those that have nothing to do or only wait (an open breaker, a pause, a slow rate), the longest wait first.
    Then, for subscribers that have fewer places than an equal share, those of whoever has more than one.
    """
    free = max(0, places - len(holders))
    needed = min(sum(waiting.values()), AT_ONCE) - free
    if needed <= 0:
        return []
    waits = {index: (holder.is_idle, holder.resting(now)) for index, holder in enumerate(holders)}
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
