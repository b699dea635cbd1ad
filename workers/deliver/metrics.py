"""Prometheus metrics of the deliver worker."""

from functools import cache

from prometheus_client import Counter, Gauge

from telemetry.exemplars import Traced
from telemetry.tallies import Count, LabelledCounter, LabelledHistogram

ATTEMPTS = LabelledCounter(
    "crossdock_delivery_attempts", "Attempts to deliver a webhook, by outcome", ("dialect", "outcome")
)
FINISHED = LabelledCounter(
    "crossdock_deliveries", "Deliveries that are finished, by their final status", ("dialect", "status")
)
SECONDS = LabelledHistogram(
    "crossdock_delivery_seconds",
    "Duration of one attempt in seconds",
    ("dialect",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)
LAG = Traced(
    LabelledHistogram(
        "crossdock_delivery_lag_seconds",
        "Seconds from the time when a delivery was due to the start of its attempt",
        (),
        buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 5, 30, 300, 3600),
    ).labels()
)
IN_FLIGHT = Gauge("crossdock_deliveries_in_flight", "Attempts under way")
SUBSCRIPTIONS = Gauge("crossdock_delivery_subscriptions", "Subscriptions that this worker sends for")
BREAKERS = Gauge(
    "crossdock_delivery_breakers",
    "Subscriptions that this worker sends for, by the state of their circuit breaker",
    ("state",),
)
DUE = Gauge(
    "crossdock_deliveries_due", "Deliveries that are due, except those that wait for their subscriber's own server"
)
OLDEST_DUE = Gauge(
    "crossdock_deliveries_oldest_due_seconds",
    "Seconds since the oldest of these deliveries was due; 0 if there is none",
)
DISABLED = Counter("crossdock_subscriptions_disabled", "Subscriptions disabled because their server answered 410")


class Counts:
    """The metrics of one dialect, kept because looking up a label costs more than counting."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._attempts: dict[str, Count] = {}
        self._finished: dict[str, Count] = {}
        self.seconds = Traced(SECONDS.labels(dialect))

    def attempt(self, outcome: str) -> None:
        counter = self._attempts.get(outcome)
        if counter is None:
            counter = self._attempts[outcome] = ATTEMPTS.labels(self._dialect, outcome)
        counter.inc()

    def finished(self, status: str) -> None:
        counter = self._finished.get(status)
        if counter is None:
            counter = self._finished[status] = FINISHED.labels(self._dialect, status)
        counter.inc()


@cache
def counts(dialect: str) -> Counts:
    """Return the metrics of a dialect, the same object on every call."""
    return Counts(dialect)
