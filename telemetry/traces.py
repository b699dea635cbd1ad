"""Spans, where tracing is on. Where it is off, as it is by default, `tracer` is None and that is all that a call site
looks at: no package is imported and no span is made.

A message carries the W3C trace context of the span that published it; who handles it later carries on from there.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, Protocol

Kind = Literal["server", "producer", "consumer", "client"]
"""As in OpenTelemetry: who asked us, what we put on a queue, what we took from one, whom we ask."""
Attributes = Mapping[str, str | int | float]
"""Names and ids. Never a body, a URL, a query string or a header."""
NONE: Attributes = MappingProxyType({})


class Span(Protocol):
    """One that has begun."""

    @property
    def traceparent(self) -> str:
        """W3C trace context, for whatever this span causes."""
        ...

    def end(self, attributes: Attributes = NONE, *, error: str | None = None, at: float | None = None) -> None:
        """`error`: why it failed. `at`: Unix seconds, now by default."""
        ...


class Tracer(Protocol):
    """Makes spans; `telemetry.otlp` has the one that sends them."""

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
        """`parent`: a trace context, where None or a broken one begins a trace; `links`: other traces that it is about.

        `at`: Unix seconds, now by default.
        """
        ...


tracer: Tracer | None = None
"""None while tracing is off. Looked up where it is used, since it is set after everything has been imported."""
