"""CloudEvents 1.0 in JSON, the format of `crossdock.events` and of the `standard` webhooks (contract §4)."""

import base64
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from schemas.envelope import rfc3339

CONTENT_TYPE = "application/cloudevents+json"
JSON = "application/json"
OCTETS = "application/octet-stream"


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One stored version of a document. Attributes are named as in the specification and are in wire order."""

    specversion: str = "1.0"
    id: str
    """UUID of the stored version; it stays the same when the event is published again."""
    source: str
    """Platform and account, for example `/channelape/rothys`."""
    type: str
    subject: str
    """The document's business key."""
    time: str
    """Time of receipt: RFC 3339, UTC, microseconds."""
    datacontenttype: str
    version: int
    """Extension: version of the document, counted from 1."""
    traceparent: str | UnsetType = UNSET
    """Extension "distributed tracing": W3C trace context."""
    dataref: str | UnsetType = UNSET
    """Extension: where to read the whole event. Set instead of the data if the event is too large for the broker."""
    data: msgspec.Raw | UnsetType = UNSET
    """JSON, byte for byte as given; numbers are never reformatted."""
    data_base64: str | UnsetType = UNSET
    """The body in base64, instead of `data`, if it is not JSON."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CloudEvent).decode


def encode(
    *,
    id: str,  # noqa: A002 - the attribute's name in the specification
    platform: str,
    account: str,
    type: str,  # noqa: A002 - likewise
    key: str,
    received_at: datetime,
    version: int,
    traceparent: str | None,
    data: bytes | None,
    raw: bytes,
    dataref: str | None = None,
) -> bytes:
    """Return the event as encoded JSON. `received_at` must be timezone-aware.

    `data` must be valid JSON or None; if it is None, `raw`, the body as received, is included in base64. Neither is
    included if there is a `dataref`, the reference to the whole event.
    """
    # msgspec formats a time in UTC the same way at a sixth of the cost, but omits microseconds that are zero.
    moment: Any = received_at if received_at.tzinfo is UTC and received_at.microsecond else rfc3339(received_at)
    return _encode(
        CloudEvent(
            id=id,
            source=f"/{platform}/{account}",
            type=type,
            subject=key,
            time=moment,
            datacontenttype=OCTETS if data is None else JSON,
            version=version,
            traceparent=traceparent or UNSET,
            dataref=dataref or UNSET,
            data=UNSET if data is None or dataref else msgspec.Raw(data),
            data_base64=base64.b64encode(raw).decode() if data is None and not dataref else UNSET,
        )
    )


def reference(public_url: str, event_id: object) -> str:
    """Return the URL of a whole event at the API; without a public URL it is relative."""
    return f"{public_url.rstrip('/')}/v1/events/{event_id}"


def refer(body: bytes, dataref: str) -> bytes:
    """Return the event without its data and with `dataref`, the reference to the whole event."""
    event = decode(body)
    return _encode(msgspec.structs.replace(event, data=UNSET, data_base64=UNSET, dataref=dataref))


def decode(body: bytes) -> CloudEvent:
    """Decode an event as `encode` writes it.

    Raises msgspec.DecodeError, or its subclass ValidationError, if `body` is not such an event.
    """
    try:
        return _decode(body)
    except (UnicodeDecodeError, RecursionError) as error:  # from a key, or from an unknown attribute nested too deep
        raise msgspec.DecodeError(str(error)) from None
