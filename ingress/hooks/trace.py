"""The spans of one authentic request: from its headers to its answer, and within it the publish. Only where traced."""

from ingress.hooks.routes import Route
from telemetry.traces import Tracer


class Trace:
    """Begins when the signature has been verified: who isn't authentic leaves no span."""

    def __init__(self, tracer: Tracer, route: Route, message_id: str, parent: str | None, began: float) -> None:
        """`parent`: the sender's trace context as received; `began`: Unix seconds when its headers were there."""
        about = {
            "crossdock.platform": route.platform.name,
            "crossdock.account": route.account,
            "crossdock.event": route.name,
            "messaging.message.id": message_id,
        }
        self._request = tracer.begin(f"receive {route.platform.name}", "server", parent, about, at=began)
        self._publish = tracer.begin("publish crossdock.inbound", "producer", self._request.traceparent, about)
        self.traceparent = self._publish.traceparent
        """What the message carries."""

    def published(self, error: str | None = None) -> None:
        """The broker has confirmed the message, or hasn't."""
        self._publish.end({"messaging.system": "rabbitmq"}, error=error)

    def answered(self, status: int, reason: str | None) -> None:
        """With our answer the request ends."""
        self._request.end({"http.response.status_code": status}, error=reason if status >= 500 else None)
