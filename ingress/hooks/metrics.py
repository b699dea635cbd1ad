"""What an operator sees of requests: metrics, one line per request in the access log, and spans where tracing is on.

No label, line or span ever carries a query string or a header, because either may be a secret.
"""

import time
from collections.abc import Callable

import orjson
from prometheus_client import Counter, Gauge

from schemas.envelope import rfc3339_of
from telemetry.exemplars import Traced
from telemetry.logs import LineWriter
from telemetry.tallies import Count, LabelledCounter, LabelledHistogram
from telemetry.traces import Tracer

REQUESTS = LabelledCounter(
    "crossdock_requests", "Webhook requests answered", ("platform", "account", "event", "status")
)
REFUSED = Counter(
    "crossdock_refused",
    "Webhook requests not accepted, and those accepted without a worker's answer, by reason",
    ("platform", "account", "reason"),
)
SECONDS = LabelledHistogram(
    "crossdock_request_seconds",
    "From the request's headers to its answer",
    ("platform", "event"),
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10),
)
CONFIRM = LabelledHistogram(
    "crossdock_confirm_seconds",
    "From handing a message to the publisher to the broker's confirm: the part of a request that RabbitMQ takes",
    (),
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
).labels()
BYTES = LabelledCounter("crossdock_request_body_bytes", "Bytes of accepted bodies", ("platform",))
OUTSTANDING = Gauge("crossdock_publish_outstanding", "Messages published and not confirmed")
PENDING_REPLIES = Gauge("crossdock_replies_pending", "Senders waiting for a worker's answer")
CONNECTIONS = Gauge("crossdock_connections", "Open client connections")


class RouteMetrics:
    """The metrics of one URL, looked up once, because looking up labels costs more than counting."""

    __slots__ = ("_labels", "_requests", "bytes", "seconds")

    def __init__(self, platform: str, account: str, event: str) -> None:
        self._labels = (platform, account, event)
        self._requests: dict[int, Count] = {}
        self.seconds = Traced(SECONDS.labels(platform, event))
        self.bytes = BYTES.labels(platform)

    def request(self, status: int) -> None:
        """Count one request that was answered with `status`."""
        counter = self._requests.get(status)
        if counter is None:
            counter = self._requests[status] = REQUESTS.labels(*self._labels, str(status))
        counter.inc()


UNKNOWN = RouteMetrics("", "", "")
"""Requests to URLs that do not exist."""


def refused_unseen(reason: str) -> None:
    """Count a connection or request that was refused before its account was known."""
    REFUSED.labels("", "", reason).inc()


class AccessLog(LineWriter):
    """One JSON line per request."""

    def __init__(self, write: Callable[[bytes], object] | None = None) -> None:
        super().__init__(write)
        self._time = ""

    def line(
        self,
        url: str,
        status: int,
        seconds: float,
        size: int,
        message_id: str | None,
        reason: str | None,
        remote: str | None,
        method: str,
    ) -> None:
        """Log one request; the line is written before the loop waits for sockets again.

        All lines of one turn have the time of its first. `url`: JSON members that name the URL, encoded before. Only
        what a sender can choose is escaped here.
        """
        if not self._lines:
            self._time = rfc3339_of(time.time())
        text = (
            f'{{"time":"{self._time}","level":"info","logger":"crossdock.access","message":"request","status":{status},'
            f'"ms":{seconds * 1000:.2f},"bytes":{size},"remote":"{remote or ""}",'
        )
        if message_id is not None:
            text += f'"id":"{message_id}",'
        if reason is not None:
            text += f'"reason":{orjson.dumps(reason).decode()},"method":{orjson.dumps(method).decode()},'
        self.add(f"{text}{url}}}\n")


class RequestSpans:
    """The spans of one authentic request, where tracing is on: from its headers to its response, and the publish.

    They begin when the signature has been verified, so a sender that is not authentic leaves no span.
    """

    def __init__(
        self, tracer: Tracer, platform: str, account: str, event: str, message_id: str, parent: str | None, began: float
    ) -> None:
        """`parent`: the sender's trace context as received; `began`: Unix seconds when the headers had arrived."""
        attributes = {
            "crossdock.platform": platform,
            "crossdock.account": account,
            "crossdock.event": event,
            "messaging.message.id": message_id,
        }
        self._request = tracer.begin(f"receive {platform}", "server", parent, attributes, at=began)
        self._publish = tracer.begin("publish crossdock.inbound", "producer", self._request.traceparent, attributes)
        self.traceparent = self._publish.traceparent
        """The trace context that the message carries."""

    def published(self, error: str | None = None) -> None:
        """End the publish: the broker has confirmed the message, unless there is an `error`."""
        self._publish.end({"messaging.system": "rabbitmq"}, error=error)

    def answered(self, status: int, reason: str | None) -> None:
        """End the request with our response."""
        self._request.end({"http.response.status_code": status}, error=reason if status >= 500 else None)
