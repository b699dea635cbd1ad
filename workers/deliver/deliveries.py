"""The deliveries that the dispatcher of one subscription holds, before their attempts start.

They wait without content, which is loaded only when an attempt may start. A delivery that was cancelled or superseded
in the meantime is then no longer found, and the newest content is sent.
"""

from collections import deque
from collections.abc import Callable, Sequence
from uuid import UUID

from workers.deliver.content import DueDelivery, LoadedDelivery


class Deliveries:
    """Deliveries without content, those whose content is being loaded, and those with content, in the order to send."""

    def __init__(self, release: Callable[[DueDelivery], None]) -> None:
        """Create an empty collection; `release` frees the memory that is reserved for the content of a delivery."""
        self.waiting: deque[DueDelivery] = deque()
        self.loading: dict[UUID, DueDelivery] = {}
        self.loaded: deque[LoadedDelivery] = deque()
        self._release = release

    @property
    def ids(self) -> list[UUID]:
        """The IDs of all deliveries."""
        return [*self.loading, *(due.id for due in self.loaded), *(item.id for item in self.waiting)]

    @property
    def is_empty(self) -> bool:
        return not (self.waiting or self.loading or self.loaded)

    def take_for_loading(self, count: int) -> list[DueDelivery]:
        """Return the first `count` deliveries that wait; their content is then loaded."""
        items = [self.waiting.popleft() for _ in range(count)]
        self.loading.update((item.id, item) for item in items)
        return items

    def receive(self, dues: Sequence[LoadedDelivery]) -> None:
        """Append deliveries whose content was loaded."""
        for due in dues:
            self.loading.pop(due.id, None)
        self.loaded.extend(dues)

    def drop(self, item: DueDelivery) -> None:
        """Remove a delivery whose content was to be loaded, and release its memory."""
        self.loading.pop(item.id, None)
        self._release(item)

    def put_back(self, items: Sequence[DueDelivery]) -> None:
        """Return deliveries whose content was to be loaded to the head of those that wait."""
        for item in items:
            self.drop(item)
        self.waiting.extendleft(reversed(items))

    def put_back_first(self) -> None:
        """Return the first delivery whose content is loaded to the head of those that wait."""
        item = self.loaded.popleft().waiting
        self._release(item)
        self.waiting.appendleft(item)

    def put_back_loaded(self) -> None:
        """Return all deliveries whose content is loaded to the head of those that wait."""
        self.put_back(self._drop_loaded())

    def clear(self) -> None:
        """Drop all deliveries except those whose content is being loaded."""
        self.waiting.clear()
        self._drop_loaded()

    def _drop_loaded(self) -> list[DueDelivery]:
        items = [due.waiting for due in self.loaded]
        self.loaded.clear()
        for item in items:
            self._release(item)
        return items
