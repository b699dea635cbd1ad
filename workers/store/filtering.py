"""Which of many subscriptions with filters an event is for.

Most filters say which value a field must have, such as a location. Subscriptions are found by these values, so that an
event is compared with the filters of its own location, and not with those of a thousand others.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

import asyncpg
from prometheus_client import Counter

from schemas import filters
from schemas.filter_conditions import Steps, TooManyStepsError, scalars_at
from schemas.filters import Filter

log = logging.getLogger("crossdock.store")

UNFILTERED = Counter(
    "crossdock_unfiltered_events",
    "Events that were sent to a subscriber without comparing them with all filters, because that would take too long",
    ("subscriber",),
)
MOST_REMEMBERED = 1_000
"""Maximum number of selections that are kept for the batches that follow."""


class Filterable(Protocol):
    """An event that can be compared with filters."""

    def view(self, *, with_data: bool) -> dict[str, object]: ...


class _Filtered:
    """The place of a subscription in the list that it comes from, and its compiled filter."""

    __slots__ = ("filter", "place")

    def __init__(self, place: int, filter_: Filter) -> None:
        self.place = place
        self.filter = filter_


class Selection:
    """The subscriptions that cover events of one account and type, of which some have filters.

    It holds their places in a list, because it serves the batches that follow, which read their rows anew.
    """

    def __init__(self, written: Sequence[str | None]) -> None:
        """`written`: the filter of each subscription as JSON, or None."""
        self._unfiltered: list[int] = []
        self._others: list[_Filtered] = []
        self._by_value: dict[tuple[str, ...], dict[object, list[_Filtered]]] = {}
        """Those whose filters require one of some values in a field, by the field and the value."""
        self._reads_data = False
        for place, text in enumerate(written):
            filter_ = filters.stored(text)
            if filter_ is None:
                if text is not None:
                    log.warning("a filter cannot be read by this release, so that everything is sent")
                self._unfiltered.append(place)
                continue
            self._reads_data = self._reads_data or filter_.reads_data
            self._add(_Filtered(place, filter_))

    def _add(self, filtered: _Filtered) -> None:
        required = min(filtered.filter.required(), key=lambda entry: len(entry[1]), default=None)
        if required is None:
            self._others.append(filtered)
            return
        path, values = required
        by_value = self._by_value.setdefault(path, {})
        for value in values:
            by_value.setdefault(value, []).append(filtered)

    def matching(self, event: Filterable, subscriptions: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
        """Return those of the subscriptions that an event is for."""
        matching = [subscriptions[place] for place in self._unfiltered]
        if not self._others and not self._by_value:
            return matching
        shown = event.view(with_data=self._reads_data)
        steps: dict[str, Steps] = defaultdict(Steps)
        for filtered in self._candidates(shown):
            subscription = subscriptions[filtered.place]
            subscriber = subscription["subscriber"]
            try:
                if filtered.filter.matches(shown, steps[subscriber]):
                    matching.append(subscription)
            except Exception as error:
                # Also after a mistake of ours: it must not keep everybody's events from being stored.
                if not isinstance(error, TooManyStepsError):
                    names = {"subscription": str(subscription["id"]), "error": repr(error)}
                    log.error("an event was sent without comparing it with a filter", extra=names)
                UNFILTERED.labels(subscriber).inc()
                matching.append(subscription)
        return matching

    def _candidates(self, shown: dict[str, object]) -> Iterable[_Filtered]:
        """Return the subscriptions whose filters may match an event, each once."""
        candidates: dict[int, _Filtered] = {}
        for path, by_value in self._by_value.items():
            try:
                values = scalars_at(shown, path, Steps())
            except TooManyStepsError:
                values = set(by_value)
            for value in values & by_value.keys():
                for filtered in by_value[value]:
                    candidates[filtered.place] = filtered
        return [*self._others, *candidates.values()]


_remembered: dict[tuple[str, ...], tuple[list[str | None], Selection]] = {}
"""The selections of the batches before, by their groups, with the filters that they were made of."""


def select(group: tuple[str, ...], subscriptions: Sequence[asyncpg.Record]) -> Selection:
    """Return the selection of these subscriptions. It is remembered by its group, for batches with the same filters."""
    written = [row["filter"] for row in subscriptions]
    before = _remembered.get(group)
    if before is not None and before[0] == written:
        return before[1]
    if len(_remembered) >= MOST_REMEMBERED:
        _remembered.clear()
    selection = Selection(written)
    _remembered[group] = (written, selection)
    return selection
