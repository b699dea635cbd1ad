"""Exemplars: the slowest of a second is one of them, and most have none."""

import time

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.openmetrics.exposition import generate_latest

from telemetry import exemplars
from telemetry.exemplars import Traced

SLOW, FAST, SLOWER = (f"00-{digit * 32}-{'1' * 16}-01" for digit in "abc")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def traced(registry: CollectorRegistry) -> Traced:
    return Traced(Histogram("x_seconds", "…", buckets=(0.1, 1, 10), registry=registry))


def exposed(registry: CollectorRegistry) -> str:
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return text.decode()


def test_only_the_slowest_observation_has_an_exemplar(traced: Traced, registry: CollectorRegistry) -> None:
    traced.observe(0.5, SLOW)
    traced.observe(0.05, FAST)
    traced.observe(5, SLOWER)
    text = exposed(registry)
    assert f'trace_id="{"a" * 32}"' in text
    assert f'trace_id="{"c" * 32}"' in text
    assert "b" * 32 not in text
    assert "x_seconds_count 3.0" in text


def test_each_interval_has_its_own_slowest_observation(
    traced: Traced, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    traced.observe(5, SLOW)
    now += exemplars.INTERVAL
    traced.observe(0.05, FAST)
    assert "b" * 32 in exposed(registry)


def test_an_observation_without_a_trace_counts(traced: Traced, registry: CollectorRegistry) -> None:
    traced.observe(0.5, None)
    assert "x_seconds_count 1.0" in exposed(registry)
    assert "trace_id" not in exposed(registry)
