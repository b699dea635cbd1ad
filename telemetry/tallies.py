"""Counters and histograms that are updated for every request, at the cost of a few additions.

The metrics of the client library take a lock and search the buckets for every observation, which was a tenth of the CPU
time of a request that updates four of them. Those here are updated only by the thread of the event loop; other threads
may read them.
"""

import math
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar


class Count:
    """The count of one combination of label values."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Add `amount`, which must not be negative."""
        self.value += amount


class LabelledCounter(Collector):
    """A counter with labels, exported as `prometheus_client.Counter` would be."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self.name = name
        self.label_names = tuple(labels)
        self._documentation = documentation
        self._children: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        """Return the child with these label values, the same object on every call."""
        return self._children.setdefault(values, Count())

    def describe(self) -> Iterator[Metric]:
        """Yield the name and type, for the registry."""
        yield CounterMetricFamily(self.name, self._documentation, labels=self.label_names)

    def collect(self) -> Iterator[Metric]:
        """Yield the counts of all children."""
        family = CounterMetricFamily(self.name, self._documentation, labels=self.label_names)
        for values, child in list(self._children.items()):
            family.add_metric(values, child.value)
        yield family


class Buckets:
    """The buckets of one combination of label values."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: list[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * len(bounds)
        self._exemplars: list[Exemplar | None] = [None] * len(bounds)
        self._sum = 0.0

    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:
        """Add an observation, in the unit of the histogram."""
        index = bisect_left(self._bounds, amount)
        self._counts[index] += 1
        self._sum += amount
        if exemplar is not None:
            self._exemplars[index] = Exemplar(dict(exemplar), amount, time.time())

    def cumulative(self) -> tuple[list[tuple[str, float] | tuple[str, float, Exemplar]], float]:
        """Return the number of observations up to each upper bound, with an exemplar if any, and the sum of all."""
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        total = 0
        for bound, count, exemplar in zip(self._bounds, self._counts, self._exemplars, strict=True):
            total += count
            buckets.append((_text(bound), total) if exemplar is None else (_text(bound), total, exemplar))
        return buckets, self._sum


class LabelledHistogram(Collector):
    """A histogram with labels, exported as `prometheus_client.Histogram` would be."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """Register the histogram; `buckets` are the upper bounds in ascending order, without +Inf, which is added."""
        self.name = name
        self.label_names = tuple(labels)
        self._documentation = documentation
        self._bounds = [*map(float, buckets), math.inf]
        self._children: dict[tuple[str, ...], Buckets] = {}
        registry.register(self)

    def labels(self, *values: str) -> Buckets:
        """Return the child with these label values, the same object on every call."""
        return self._children.setdefault(values, Buckets(self._bounds))

    def describe(self) -> Iterator[Metric]:
        """Yield the name and type, for the registry."""
        yield HistogramMetricFamily(self.name, self._documentation, labels=self.label_names)

    def collect(self) -> Iterator[Metric]:
        """Yield the buckets of all children."""
        family = HistogramMetricFamily(self.name, self._documentation, labels=self.label_names)
        for values, child in list(self._children.items()):
            buckets, total = child.cumulative()
            family.add_metric(values, buckets, total)
        yield family


def _text(bound: float) -> str:
    return "+Inf" if bound == math.inf else repr(bound)
