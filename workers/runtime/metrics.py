"""Prometheus metrics of all workers that consume queues."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from telemetry.exemplars import Traced

SETTLED = Counter("crossdock_messages", "Messages settled, by outcome", ("queue", "outcome"))
BATCH = Histogram(
    "crossdock_batch_messages",
    "Messages per batch",
    ("queue",),
    buckets=(1, 2, 5, 10, 25, 50, 100, 200, 300, 500),
)
OLDEST = Gauge(
    "crossdock_oldest_message_seconds",
    "Age of the oldest message that this worker received and has not settled; 0 if there is none",
    ("queue",),
)
HELD_UP = Gauge(
    "crossdock_held_up_seconds",
    "Seconds for which something that this worker needs has been unavailable; 0 while it works",
    ("queue",),
)
STAGE = Histogram(
    "crossdock_stage_seconds",
    "Seconds that one batch spends in one stage",
    ("stage",),
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10),
)


@cache
def stage(name: str) -> Traced:
    """Return the metric of a stage, the same object on every call; looking up a label costs more than observing."""
    return Traced(STAGE.labels(name))
