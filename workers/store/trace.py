"""The spans of a batch that has been stored: one of its own, and one a message in the message's own trace."""

from collections.abc import Sequence

from telemetry.traces import Tracer
from workers.store.prepare import Incoming

AT_MOST = 128
"""Messages of a batch that get a span and a link; as many links as the SDK keeps by default."""


def record(tracer: Tracer, queue: str, incoming: Sequence[Incoming], began: float, ended: float) -> None:
    """`began` and `ended`: Unix seconds."""
    traced = [(one, one.envelope.traceparent) for one in incoming if one.envelope.traceparent][:AT_MOST]
    about: dict[str, str | int | float] = {
        "messaging.system": "rabbitmq",
        "messaging.destination.name": queue,
        "messaging.batch.message_count": len(incoming),
    }
    links = [traceparent for _, traceparent in traced]
    batch = tracer.begin("store batch", "consumer", None, about, at=began, links=links)
    for message, traceparent in traced:
        envelope = message.envelope
        own = about | {
            "messaging.message.id": envelope.message_id,
            "crossdock.platform": envelope.platform,
            "crossdock.account": envelope.account,
            "crossdock.event": envelope.event,
            "crossdock.outcome": "quarantined" if message.document is None else "stored",
        }
        span = tracer.begin(
            f"store {envelope.platform}", "consumer", traceparent, own, at=began, links=[batch.traceparent]
        )
        span.end(at=ended)
    batch.end(at=ended)
