"""A limit that several owners share: no owner can use up what the others need. Pure, except for callbacks."""

from collections import Counter
from collections.abc import Callable, Hashable


class FairLimit:
    """A limited amount of something (attempts, bytes, look-ups), shared by owners, who may each have several parts.

    The rule is a dynamic threshold: an owner may hold no more than what is still free. One owner alone gets half of the
    limit; the second one half of the rest; something is always left for whoever comes next. An owner that holds nothing
    is never refused: the limit is exceeded by at most one grant per owner.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.total = 0
        self._by_owner: Counter[Hashable] = Counter()
        self._by_part: Counter[Hashable] = Counter()
        self._waiting: dict[str, dict[Hashable, Callable[[], None]]] = {}

    def try_take(self, owner: str, amount: int = 1, *, part: Hashable | None = None) -> bool:
        """Take `amount` if the owner may have it now. Within one owner, a part that holds nothing goes first."""
        free = self._limit - self.total
        owned = self._by_owner[owner]
        if owned:
            of_part = self._by_part[part] if part is not None else owned
            if part is not None and not of_part:
                fits = amount <= free
            else:
                fits = owned + amount <= free and (part is None or of_part + amount <= free // 2)
            if not fits:
                return False
        self.total += amount
        self._by_owner[owner] += amount
        if part is not None:
            self._by_part[part] += amount
        return True

    def correct(self, owner: str, change: int, *, part: Hashable | None = None) -> None:
        """Correct an amount that was estimated when it was taken."""
        if change < 0:
            self.release(owner, -change, part=part)
            return
        self.total += change
        self._by_owner[owner] += change
        if part is not None:
            self._by_part[part] += change

    def release(self, owner: str, amount: int = 1, *, part: Hashable | None = None) -> None:
        """Give `amount` back, and let one of the waiting parts of each owner try again."""
        if not amount:
            return
        self.total -= amount
        _subtract(self._by_owner, owner, amount)
        if part is not None:
            _subtract(self._by_part, part, amount)
        if self._waiting:
            self._wake()

    def when_free(self, owner: str, key: Hashable, callback: Callable[[], None]) -> None:
        """Call `callback` once, after something was released. A second call with the same key changes nothing."""
        self._waiting.setdefault(owner, {}).setdefault(key, callback)

    def forget(self, owner: str, key: Hashable) -> None:
        """Withdraw `when_free`."""
        waiting = self._waiting.get(owner)
        if waiting is not None and waiting.pop(key, None) is not None and not waiting:
            del self._waiting[owner]

    def _wake(self) -> None:
        # One of each owner, in the order in which they began to wait: all of them each time would cost as many calls as
        # there are waiting parts, for every attempt that ends.
        for owner in list(self._waiting):
            waiting = self._waiting.get(owner)
            if waiting:
                callback = waiting.pop(next(iter(waiting)))
                if not waiting:
                    del self._waiting[owner]
                callback()


def _subtract(counter: "Counter[Hashable]", key: Hashable, amount: int) -> None:
    left = counter[key] - amount
    if left > 0:
        counter[key] = left
    else:
        del counter[key]
