"""A limit that is shared fairly among owners, so that no owner can exhaust it. Pure, except for callbacks."""

from collections.abc import Callable, Hashable


class FairLimit:
    """A limited amount of a resource (attempts, bytes, look-ups), shared by owners that may have several parts each.

    The rule is a dynamic threshold: an owner may hold at most as much as is still free. A single owner therefore gets
    half of the limit and a second owner half of the rest, so that something is always left for the next owner. Of 80
    bytes, a single owner gets 40, and a second one 20, because 20 are then free. An owner that holds nothing is never
    refused; the limit may be exceeded by one grant per owner.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.total = 0
        self._by_owner: dict[str, int] = {}
        self._by_part: dict[Hashable, int] = {}
        self._waiting: dict[str, dict[Hashable, Callable[[], None]]] = {}

    def try_take(self, owner: str, amount: int = 1, *, part: Hashable | None = None) -> bool:
        """Take `amount` if the owner may have it now; return whether it was taken.

        Among the parts of one owner, a part that holds nothing has priority.
        """
        owned = self._by_owner.get(owner, 0)
        of_part = 0 if part is None else self._by_part.get(part, 0)
        if owned:
            free = self._limit - self.total
            if part is None:
                fits = owned + amount <= free
            elif not of_part:
                fits = amount <= free
            else:
                fits = owned + amount <= free and of_part + amount <= free // 2
            if not fits:
                return False
        self.total += amount
        self._by_owner[owner] = owned + amount
        if part is not None:
            self._by_part[part] = of_part + amount
        return True

    def release(self, owner: str, amount: int = 1, *, part: Hashable | None = None) -> None:
        """Give `amount` back, and call the callback that has waited longest of each owner."""
        if not amount:
            return
        self.total -= amount
        left = self._by_owner[owner] - amount
        if left:
            self._by_owner[owner] = left
        else:
            del self._by_owner[owner]
        if part is not None:
            left = self._by_part[part] - amount
            if left:
                self._by_part[part] = left
            else:
                del self._by_part[part]
        if self._waiting:
            self._wake()

    def when_free(self, owner: str, key: Hashable, callback: Callable[[], None]) -> None:
        """Call `callback` once, after a release. Another registration with the same key has no effect."""
        self._waiting.setdefault(owner, {}).setdefault(key, callback)

    def forget(self, owner: str, key: Hashable) -> None:
        """Remove the callback that `when_free` registered, if it was not called yet."""
        waiting = self._waiting.get(owner)
        if waiting is not None and waiting.pop(key, None) is not None and not waiting:
            del self._waiting[owner]

    def _wake(self) -> None:
        # Call one callback per owner, in the order in which they were registered. Calling all of them would cost one
        # call per waiting part for every attempt that ends.
        for owner in list(self._waiting):
            waiting = self._waiting.get(owner)
            if waiting:
                callback = waiting.pop(next(iter(waiting)))
                if not waiting:
                    del self._waiting[owner]
                callback()
