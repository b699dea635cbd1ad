"""What a batch leaves behind besides its rows and events: metrics, one log line, and spans."""

import logging
import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from schemas import envelope
from telemetry import traces
from telemetry.traces import Tracer
from workers.runtime.metrics import stage
from workers.store import metrics
from workers.store.prepare import Incoming
from workers.store.write import WriteResult

log = logging.getLogger("crossdock.store")

MAX_TRACED = 128
"""Messages of a batch that get a span and a link; as many links as the SDK keeps by default."""


class Durations(msgspec.Struct, frozen=True):
    """The seconds that the stages of a batch took."""

    decode: float
    write: float
    publish: float


def batch_done(queue: str, incoming: Sequence[Incoming], written: WriteResult, seconds: Durations) -> None:
    """Report a batch that is stored and announced."""
    oldest = min((message.envelope for message in incoming), key=lambda envelope: envelope.received_at)
    age_seconds = max(0.0, (envelope.now() - oldest.received_at).total_seconds())
    metrics.LAG.observe(age_seconds, oldest.traceparent)
    if traces.tracer:
        now = time.time()
        _trace(traces.tracer, queue, incoming, now - seconds.decode - seconds.write - seconds.publish, now)
    for name, value in (("decode", seconds.decode), ("write", seconds.write), ("publish", seconds.publish)):
        stage(name).observe(value, oldest.traceparent)
    count_quarantined(incoming)
    for type_, count in Counter(stored.document.reading.type for stored in written.versions).items():
        metrics.STORED.labels(type_).inc(count)
    log.info(
        "stored",
        extra={
            "messages": len(incoming),
            "versions": len(written.versions),
            "quarantined": written.quarantined,
            "deliveries": written.deliveries,
            "decode_ms": round(seconds.decode * 1000, 2),
            "write_ms": round(seconds.write * 1000, 2),
            "publish_ms": round(seconds.publish * 1000, 2),
            "oldest_s": round(age_seconds, 3),
            "first_id": incoming[0].envelope.message_id,
            "last_id": incoming[-1].envelope.message_id,
        },
    )


def count_quarantined(incoming: Sequence[Incoming]) -> None:
    """Count the messages that were quarantined."""
    for message in incoming:
        if message.document is None:
            sender = message.envelope
            metrics.QUARANTINED.labels(sender.platform, sender.account, sender.event).inc()


def _trace(tracer: Tracer, queue: str, incoming: Sequence[Incoming], began: float, ended: float) -> None:
    """Record one span for the batch, and one per message in the message's own trace.

    `began` and `ended` are in Unix seconds.
    """
    traced = [(message, message.envelope.traceparent) for message in incoming if message.envelope.traceparent]
    traced = traced[:MAX_TRACED]
    attributes: dict[str, str | int | float] = {
        "messaging.system": "rabbitmq",
        "messaging.destination.name": queue,
        "messaging.batch.message_count": len(incoming),
    }
    links = [traceparent for _, traceparent in traced]
    batch = tracer.begin("store batch", "consumer", None, attributes, at=began, links=links)
    for message, traceparent in traced:
        own = attributes | _attributes(message)
        name = f"store {message.envelope.platform}"
        span = tracer.begin(name, "consumer", traceparent, own, at=began, links=[batch.traceparent])
        span.end(at=ended)
    batch.end(at=ended)


def _attributes(message: Incoming) -> dict[str, str | int | float]:
    sender = message.envelope
    return {
        "messaging.message.id": sender.message_id,
        "crossdock.platform": sender.platform,
        "crossdock.account": sender.account,
        "crossdock.event": sender.event,
        "crossdock.outcome": "quarantined" if message.document is None else "stored",
    }
