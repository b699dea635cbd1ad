"""The AMQP properties and headers of a message on `crossdock.inbound`, to and from a Struct (contract §4)."""

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
from pamqp.commands import Basic

PERSISTENT = 2
RECORD_TYPE = "crossdock.allocation"
"""AMQP `type` of the route worker's note to the store worker; inbound messages carry none."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What travels beside the raw body. Never a secret: no query string, no credential, no signature."""

    message_id: str
    platform: str
    account: str
    event: str
    received_at: datetime
    """Aware, UTC, microseconds: when the whole body had been read."""
    content_type: str | None = None
    traceparent: str | None = None
    reply_to: str | None = None
    deadline: float | None = None
    """Unix seconds after which nobody waits for an answer any more."""
    language: str | None = None
    """`Accept-Language` as received."""
    type: str | None = None


def rfc3339(moment: datetime) -> str:
    """`2026-11-21T09:30:00.123456Z`: UTC, always six decimals, so that text order is time order."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def now() -> datetime:
    """The wall clock, aware. The one place that reads it for envelopes."""
    return datetime.fromtimestamp(time.time(), UTC)


def to_properties(envelope: Envelope) -> Basic.Properties:
    """Persistent, with the headers of contract §4."""
    headers: dict[str, Any] = {
        "platform": envelope.platform,
        "account": envelope.account,
        "event": envelope.event,
        "received-at": rfc3339(envelope.received_at),
    }
    if envelope.traceparent:
        headers["traceparent"] = envelope.traceparent
    if envelope.deadline is not None:
        headers["deadline"] = rfc3339(datetime.fromtimestamp(envelope.deadline, UTC))
    if envelope.language:
        headers["accept-language"] = envelope.language
    return Basic.Properties(
        content_type=envelope.content_type,
        headers=headers,
        delivery_mode=PERSISTENT,
        correlation_id=envelope.message_id if envelope.reply_to else None,
        reply_to=envelope.reply_to,
        message_id=envelope.message_id,
        timestamp=envelope.received_at,
        message_type=envelope.type,
    )


def from_properties(properties: Basic.Properties) -> Envelope:
    """The reverse. Raises ValueError naming the property that is missing or wrong: such a message isn't ours."""
    headers = properties.headers or {}
    try:
        deadline = headers.get("deadline")
        return Envelope(
            message_id=_text(properties.message_id),
            platform=_text(headers["platform"]),
            account=_text(headers["account"]),
            event=_text(headers["event"]),
            received_at=datetime.fromisoformat(_text(headers["received-at"])),
            content_type=properties.content_type,
            traceparent=headers.get("traceparent"),  # type: ignore[arg-type]
            reply_to=properties.reply_to,
            deadline=datetime.fromisoformat(_text(deadline)).timestamp() if deadline else None,
            language=headers.get("accept-language"),  # type: ignore[arg-type]
            type=properties.message_type,
        )
    except KeyError as missing:
        raise ValueError(f"header {missing} is missing") from None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode()
    if not isinstance(value, str) or not value:
        raise ValueError(f"a property should be text and is {type(value).__name__}")
    return value
