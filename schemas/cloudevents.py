"""CloudEvents 1.0 in JSON: what `crossdock.events` and the `standard` webhooks carry (contract §4)."""

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
    """One stored version of a document. Attribute names as in the specification, in the order they are written."""

    specversion: str = "1.0"
    id: str
    """UUID of the stored version: the same whenever it is published again."""
    source: str
    """`/channelape/rothys`."""
    type: str
    subject: str
    """The business key."""
    time: str
    """When it was received: RFC 3339, UTC, microseconds."""
    datacontenttype: str
    version: int
    """Extension: 1, 2, …"""
    traceparent: str | UnsetType = UNSET
    """Extension "distributed tracing"."""
    dataref: str | UnsetType = UNSET
    """Extension: where the whole event can be read, of one that is too large for the broker; then it has no data."""
    data: msgspec.Raw | UnsetType = UNSET
    """JSON, byte for byte as given: no number is ever written anew."""
    data_base64: str | UnsetType = UNSET
    """Instead of `data`, for a body that is no JSON."""


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
) -> bytes:
    """The event as bytes. `data` is valid JSON, or None: then `raw`, the body as received, goes in base64.

    `received_at` is aware.
    """
    # msgspec writes a moment in UTC just so, at a sixth of the price; but no microseconds where there are none.
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
            data=UNSET if data is None else msgspec.Raw(data),
            data_base64=base64.b64encode(raw).decode() if data is None else UNSET,
        )
    )


def refer(body: bytes, dataref: str) -> bytes:
    """Return an event without its data, and with where the whole event can be read."""
    event = decode(body)
    return _encode(msgspec.structs.replace(event, data=UNSET, data_base64=UNSET, dataref=dataref))


def decode(body: bytes) -> CloudEvent:
    """The reverse. Raises msgspec.DecodeError (or ValidationError, which is one) for what isn't such an event."""
    try:
        return _decode(body)
    except (UnicodeDecodeError, RecursionError) as error:  # of a key, and of an unknown attribute that never closes
        raise msgspec.DecodeError(str(error)) from None
