"""Counters and histograms of what happens for every request: a few additions each.

The client library's take a lock, and look through the buckets, for every observation: with four of them a request that
was a tenth of its CPU time. These belong to one thread, the loop's, and are read by whoever asks for the metrics.
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
    """One child of `Counters`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """So many more; not negative."""
        self.value += amount


class Counters(Collector):
    """A counter with labels, as `prometheus_client.Counter` shows it."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self.name = name
        self.label_names = tuple(labels)
        self._documentation = documentation
        self._children: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        """The child of these label values, made when first asked for."""
        return self._children.setdefault(values, Count())

    def describe(self) -> Iterator[Metric]:
        """Its name, for the registry."""
        yield CounterMetricFamily(self.name, self._documentation, labels=self.label_names)

    def collect(self) -> Iterator[Metric]:
        """What has been counted."""
        family = CounterMetricFamily(self.name, self._documentation, labels=self.label_names)
        for values, child in list(self._children.items()):
            family.add_metric(values, child.value)
        yield family


class Buckets:
    """One child of `Histograms`."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: list[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * len(bounds)
        self._exemplars: list[Exemplar | None] = [None] * len(bounds)
        self._sum = 0.0

    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:
        """One more, in the histogram's unit."""
        place = bisect_left(self._bounds, amount)
        self._counts[place] += 1
        self._sum += amount
        if exemplar is not None:
            self._exemplars[place] = Exemplar(dict(exemplar), amount, time.time())

    def cumulative(self) -> tuple[list[tuple[str, float] | tuple[str, float, Exemplar]], float]:
        """By upper bound what was at most as much, with an exemplar; and the sum of all."""
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        total = 0
        for bound, count, exemplar in zip(self._bounds, self._counts, self._exemplars, strict=True):
            total += count
            buckets.append((_text(bound), total) if exemplar is None else (_text(bound), total, exemplar))
        return buckets, self._sum


class Histograms(Collector):
    """A histogram with labels, as `prometheus_client.Histogram` shows it."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """`buckets`: upper bounds, rising; the last one, without bound, is added."""
        self.name = name
        self.label_names = tuple(labels)
        self._documentation = documentation
        self._bounds = [*map(float, buckets), math.inf]
        self._children: dict[tuple[str, ...], Buckets] = {}
        registry.register(self)

    def labels(self, *values: str) -> Buckets:
        """The child of these label values, made when first asked for."""
        return self._children.setdefault(values, Buckets(self._bounds))

    def describe(self) -> Iterator[Metric]:
        """Its name, for the registry."""
        yield HistogramMetricFamily(self.name, self._documentation, labels=self.label_names)

    def collect(self) -> Iterator[Metric]:
        """What has been observed."""
        family = HistogramMetricFamily(self.name, self._documentation, labels=self.label_names)
        for values, child in list(self._children.items()):
            buckets, total = child.cumulative()
            family.add_metric(values, buckets, total)
        yield family


def _text(bound: float) -> str:
    return "+Inf" if bound == math.inf else repr(bound)
