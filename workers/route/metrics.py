"""Prometheus metrics of the route worker."""

from functools import cache

from prometheus_client import Counter, Histogram

from telemetry.exemplars import Traced

ANSWERS = Counter("crossdock_answers", "Requests of senders that wait, by outcome", ("platform", "account", "outcome"))
SECONDS = Histogram(
    "crossdock_answer_seconds",
    "From the message's arrival to its answer being handed to the broker",
    ("platform",),
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1),
)


@cache
def seconds(platform: str) -> Traced:
    """Return the histogram of one platform's answers."""
    return Traced(SECONDS.labels(platform))
