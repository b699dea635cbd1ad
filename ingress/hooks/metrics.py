"""Prometheus metrics of the ingress. No label ever carries a query string, a header or a path that isn't ours."""

from prometheus_client import Counter, Gauge

from telemetry.exemplars import Traced
from telemetry.tallies import Count, Counters, Histograms

REQUESTS = Counters("crossdock_requests", "Webhook requests answered", ("platform", "account", "event", "status"))
REFUSED = Counter("crossdock_refused", "Webhook requests not accepted, by reason", ("platform", "account", "reason"))
SECONDS = Histograms(
    "crossdock_request_seconds",
    "From the request's headers to its answer",
    ("platform", "event"),
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10),
)
CONFIRM = Histograms(
    "crossdock_confirm_seconds",
    "From handing a message to the publisher to the broker's confirm: the part of a request that isn't ours",
    (),
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
).labels()
BYTES = Counters("crossdock_request_body_bytes", "Bytes of accepted bodies", ("platform",))
OUTSTANDING = Gauge("crossdock_publish_outstanding", "Messages published and not confirmed")
PENDING_REPLIES = Gauge("crossdock_replies_pending", "Senders waiting for a worker's answer")
CONNECTIONS = Gauge("crossdock_connections", "Open client connections")


class Counts:
    """The metrics of one URL, looked up once: a label look-up costs more than the count."""

    __slots__ = ("_labels", "_requests", "bytes", "seconds")

    def __init__(self, platform: str, account: str, event: str) -> None:
        self._labels = (platform, account, event)
        self._requests: dict[int, Count] = {}
        self.seconds = Traced(SECONDS.labels(platform, event))
        self.bytes = BYTES.labels(platform)

    def request(self, status: int) -> None:
        """One request answered with `status`."""
        counter = self._requests.get(status)
        if counter is None:
            counter = self._requests[status] = REQUESTS.labels(*self._labels, str(status))
        counter.inc()


UNKNOWN = Counts("", "", "")
"""Requests to no URL of ours."""


def refused_unseen(reason: str) -> None:
    """A connection or request refused before it was known whose it is."""
    REFUSED.labels("", "", reason).inc()
