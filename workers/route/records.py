"""The AMQP properties of the record of an answered request, which the store worker writes."""

from functools import lru_cache

import msgspec

from broker import ids
from schemas import envelope
from schemas.envelope import Envelope, Stamp


def encoded_properties(request: Envelope) -> bytes:
    """Return the encoded properties of the record of a request: those of the request, with the record's type."""
    trace = request.traceparent
    if trace is not None and ids.is_traceparent(trace) and request.message_id.isascii():
        stamp = _stamp(request.platform, request.account, request.event, request.content_type)
        return stamp(request.message_id, request.received_at.timestamp(), trace)
    record = msgspec.structs.replace(request, reply_to=None, deadline=None, language=None, type=envelope.RECORD_TYPE)
    return envelope.to_properties(record).marshal()


@lru_cache(1000)
def _stamp(platform: str, account: str, event: str, content_type: str | None) -> Stamp:
    return Stamp(platform, account, event, content_type, None, kind=envelope.RECORD_TYPE)
