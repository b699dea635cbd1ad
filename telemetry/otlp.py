"""Sends spans to a collector over OTLP/HTTP, with OpenTelemetry's own SDK. Imported only if `[telemetry]` enables it.

Headers that the collector requires, such as a token, are read from OTEL_EXPORTER_OTLP_HEADERS, as is usual.
"""

import asyncio
import threading
from collections.abc import Sequence
from importlib.metadata import version
from uuid import uuid4

from schemas.config import Telemetry
from telemetry import traces

try:
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as missing:
    NOT_INSTALLED: str | None = missing.name
else:
    NOT_INSTALLED = None

EXPORT_TIMEOUT = 3.0
"""Maximum seconds of one export; while the collector is unavailable, spans are lost and nothing else."""
WAITING = 4096
"""Maximum number of spans that wait to be sent; further ones are dropped."""


class NotInstalledError(Exception):
    """Tracing is configured, but its packages are not installed."""


class Tracer:
    """A `traces.Tracer` that sends its spans from a thread of the SDK."""

    def __init__(self, settings: Telemetry, process: str) -> None:
        """Create a tracer for a kind of process, such as `store`. Raises NotInstalledError."""
        if NOT_INSTALLED is not None:
            raise NotInstalledError(
                f"[telemetry] otlp_endpoint is set, and the package {NOT_INSTALLED} is not installed: "
                "pip install 'crossdock[otel]', or leave the setting out"
            )
        assert settings.otlp_endpoint is not None
        resource = {
            "service.namespace": "crossdock",
            "service.name": f"crossdock-{process}",
            "service.version": version("crossdock"),
            "service.instance.id": str(uuid4()),
        }
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sample)),
            resource=Resource.create(resource),
            shutdown_on_exit=False,  # `stop` does that, in bounded time
        )
        endpoint = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=WAITING))
        self._tracer = self._provider.get_tracer("crossdock", version("crossdock"))
        self._propagator = TraceContextTextMapPropagator()

    def begin(
        self,
        name: str,
        kind: traces.Kind,
        parent: str | None,
        attributes: traces.Attributes,
        *,
        at: float | None = None,
        links: Sequence[str] = (),
    ) -> traces.Span:
        """Begin a span; see `traces.Tracer.begin`."""
        span = self._tracer.start_span(
            name,
            context=self._context(parent),
            kind=SpanKind[kind.upper()],
            attributes=dict(attributes),
            links=[Link(self._span_context(traceparent)) for traceparent in links],
            start_time=_nanoseconds(at),
        )
        return _StartedSpan(span)

    async def stop(self) -> None:
        """Send the spans that wait, within EXPORT_TIMEOUT."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces-shutdown", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, EXPORT_TIMEOUT)

    def _context(self, traceparent: str | None) -> "Context":
        return self._propagator.extract({"traceparent": traceparent} if traceparent else {}, Context())

    def _span_context(self, traceparent: str) -> "SpanContext":
        return get_current_span(self._context(traceparent)).get_span_context()


class _StartedSpan:
    def __init__(self, span: "Span") -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def end(
        self, attributes: traces.Attributes = traces.NONE, *, error: str | None = None, at: float | None = None
    ) -> None:
        self._span.set_attributes(dict(attributes))
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end(end_time=_nanoseconds(at))


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1e9)
