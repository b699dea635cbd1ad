"""Prometheus metrics of the poll worker."""

from prometheus_client import Counter, Gauge

POLLS = Counter("crossdock_polls", "Polls that came to an end, by outcome", ("account", "outcome"))
ORDERS = Counter("crossdock_polled_orders", "Orders that were new or changed, and published", ("account",))
REQUESTS = Counter("crossdock_poll_requests", "Requests to polled APIs, by status or failure", ("kind", "status"))
SINCE = Gauge("crossdock_poll_seconds_since_success", "Since the account was last polled to the end", ("account",))
