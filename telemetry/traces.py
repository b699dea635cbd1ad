"""The interface of tracing.

While tracing is off, which is the default, `tracer` is None: call sites check only that, no package of OpenTelemetry is
imported, and no span is made.

A message carries the W3C trace context of the span that published it; the process that handles it continues the trace.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, Protocol

Kind = Literal["server", "producer", "consumer", "client"]
"""Kinds of OpenTelemetry: a request to us, a message that we publish or consume, a request by us."""
Attributes = Mapping[str, str | int | float]
"""Names and IDs; never a body, a URL, a query string or a header."""
NONE: Attributes = MappingProxyType({})


class Span(Protocol):
    """A span that has begun and has not ended."""

    @property
    def traceparent(self) -> str:
        """The W3C trace context of the span, for requests and messages that it causes."""
        ...

    def end(self, attributes: Attributes = NONE, *, error: str | None = None, at: float | None = None) -> None:
        """End the span; `error` is why it failed, if it did, and `at` the time in Unix seconds, by default now."""
        ...


class Tracer(Protocol):
    """Makes spans; `telemetry.otlp.Tracer` sends them to a collector."""

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: str | None,
        attributes: Attributes,
        *,
        at: float | None = None,
        links: Sequence[str] = (),
    ) -> Span:
        """Begin a span at `at` (Unix seconds, by default now).

        `parent` is a W3C trace context; None or an invalid one begins a new trace. `links` are the contexts of other
        traces that the span concerns.
        """
        ...


tracer: Tracer | None = None
"""None while tracing is off. Use it as `traces.tracer`, because it is set after all modules were imported."""
