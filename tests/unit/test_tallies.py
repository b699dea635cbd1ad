"""Our counters and histograms show what the client library's show."""

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from telemetry.tallies import LabelledCounter, LabelledHistogram

BOUNDS = (0.001, 0.25, 1, 5)
SEEN = (0.0, 0.001, 0.0010001, 0.2, 0.25, 1, 4.9, 5, 6, 1e9)


def shown(registry: CollectorRegistry, write: Callable[[CollectorRegistry], bytes]) -> list[str]:
    """Without when each was made, which only the library's says."""
    return [line for line in write(registry).decode().splitlines() if "_created" not in line]


@pytest.mark.parametrize("write", [generate_latest, generate_openmetrics])
def test_our_counters_are_exposed_as_the_librarys(write: Callable[[CollectorRegistry], bytes]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counts = (
        LabelledCounter("x_things", "Things", ("a", "b"), registry=ours),
        Counter("x_things", "Things", ("a", "b"), registry=theirs),
    )
    times = (
        LabelledHistogram("x_seconds", "Seconds", ("a",), buckets=BOUNDS, registry=ours),
        Histogram("x_seconds", "Seconds", ("a",), buckets=BOUNDS, registry=theirs),
    )
    for counter in counts:
        counter.labels("1", 'with "quotes"').inc()
        counter.labels("1", 'with "quotes"').inc(5)
        counter.labels("2", "").inc(0)
    for histogram in times:
        for seconds in SEEN:
            histogram.labels("1").observe(seconds)
        histogram.labels("2").observe(0.3)
    assert shown(ours, write) == shown(theirs, write)


def test_an_exemplar_stands_at_its_bucket() -> None:
    registry = CollectorRegistry()
    histogram = LabelledHistogram("x_seconds", "Seconds", (), buckets=BOUNDS, registry=registry).labels()
    histogram.observe(0.2, {"trace_id": "abc"})
    [line] = [line for line in shown(registry, generate_openmetrics) if "abc" in line]
    assert line.startswith('x_seconds_bucket{le="0.25"} 1.0 # {trace_id="abc"} 0.2 ')


def test_nothing_observed_is_shown_as_nothing() -> None:
    """A histogram without labels is there from the start, as the library's is."""
    registry = CollectorRegistry()
    LabelledHistogram("x_seconds", "Seconds", (), buckets=(1,), registry=registry).labels()
    assert "x_seconds_count 0.0" in shown(registry, generate_latest)
