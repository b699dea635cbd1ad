"""Prometheus metrics of the deliver worker."""

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS = Counter("crossdock_delivery_attempts", "Attempts to deliver a webhook, by outcome", ("dialect", "outcome"))
FINISHED = Counter("crossdock_deliveries", "Deliveries that came to an end", ("dialect", "status"))
SECONDS = Histogram(
    "crossdock_delivery_seconds",
    "Time of one attempt",
    ("dialect",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)
LAG = Histogram(
    "crossdock_delivery_lag_seconds",
    "From when a delivery was due to the start of its attempt",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 5, 30, 300, 3600),
)
IN_FLIGHT = Gauge("crossdock_deliveries_in_flight", "Attempts under way")
LANES = Gauge("crossdock_delivery_subscriptions", "Subscriptions that this worker sends for")
OPEN = Gauge("crossdock_delivery_breakers_open", "Of these, those that are left alone for a while")
DISABLED = Counter("crossdock_subscriptions_disabled", "Subscriptions disabled because they answered 410")
