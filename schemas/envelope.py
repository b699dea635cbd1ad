"""The AMQP properties and headers of a message on `crossdock.inbound`, to and from a Struct (contract §4)."""

import struct
import time
from datetime import UTC, datetime
from functools import cache, lru_cache

import msgspec
import pamqp.encode
from pamqp.commands import Basic

from schemas import properties
from schemas.properties import Headers, Properties
from schemas.topology import shard_key

RECORD_TYPE = "crossdock.allocation"
"""AMQP `type` of the route worker's record for the store worker; inbound messages have none."""
ACCEPTED = "accepted"
"""The verdict on an order that was answered 200; any other verdict is the reason why the order was refused."""
VERDICT_LENGTH = 1000
"""Maximum characters of a verdict's reason that are kept."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that accompanies the raw body. Never a secret: no query string, no credential, no signature."""

    message_id: str
    platform: str
    account: str
    event: str
    received_at: datetime
    """Time at which the whole body had been read: timezone-aware, UTC, microseconds."""
    content_type: str | None = None
    traceparent: str | None = None
    reply_to: str | None = None
    deadline: float | None = None
    """Time in Unix seconds after which the sender no longer waits for an answer."""
    language: str | None = None
    """The header `Accept-Language` as received."""
    clock: float | None = None
    """Seconds of the ingress's monotonic clock when the request was received. With `deadline` less `received_at` it
    shows how long a request has waited, whatever the wall clocks of two machines are (`workers.route.lateness`)."""
    verdict: str | None = None
    """The answer to the sender of an order: `ACCEPTED`, or the reason for the refusal; None if there is none yet."""
    type: str | None = None


def rfc3339(moment: datetime) -> str:
    """Return a time such as `2026-11-21T09:30:00.123456Z`: UTC, six decimals, so that text order is time order."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat("T", "microseconds")[:26] + "Z"


@lru_cache(4)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).isoformat()[:19]


def rfc3339_of(seconds: float) -> str:
    """Return Unix seconds as `rfc3339` does; the text of a second is cached, because many messages share it."""
    whole, micros = divmod(int(seconds * 1e6 + 0.5), 1_000_000)  # the nearest float to a microsecond may be less
    return f"{_second(whole)}.{micros:06d}Z"


def now() -> datetime:
    """Return the time of the wall clock, timezone-aware. It is read for envelopes only here."""
    return datetime.fromtimestamp(time.time(), UTC)


def to_properties(envelope: Envelope) -> Basic.Properties:
    """Return the properties of a persistent message with the headers of contract §4."""
    headers: Headers = {
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
    if envelope.clock is not None:
        headers["clock"] = f"{envelope.clock:.6f}"
    if envelope.verdict:
        headers["verdict"] = envelope.verdict
    return Basic.Properties(
        content_type=envelope.content_type,
        headers=headers,
        delivery_mode=properties.PERSISTENT,
        correlation_id=envelope.message_id if envelope.reply_to else None,
        reply_to=envelope.reply_to,
        message_id=envelope.message_id,
        timestamp=envelope.received_at,
        message_type=envelope.type,
    )


_MOMENT, _TRACE, _ID = 27, 55, 36
"""Bytes of a time, a trace context and a message id, as a stamp has them."""
_BEFORE_TIME = properties.header_start("received-at", _MOMENT)
_BEFORE_TRACE = properties.header_start("traceparent", _TRACE)
_pack_length = properties.LENGTH.pack
_PERSISTENT = bytes((properties.PERSISTENT,))
_BETWEEN = (_BEFORE_TIME, _BEFORE_TRACE, _PERSISTENT + bytes((_ID,)))
"""The constant bytes in a stamp before its time, its trace context and its message id."""


class Stamp:
    """An encoder of the properties of `to_properties` for one account's event, which encodes constant parts only once.

    With several shards, a BCC header (RabbitMQ: "sender-selected distribution") names the shard that stores the
    message. There is one stamp per URL and content type; a test compares the result with pamqp's encoder.
    """

    _TIMESTAMP = struct.Struct(">Q")

    def __init__(
        self,
        platform: str,
        account: str,
        event: str,
        content_type: str | None,
        reply_to: str | None,
        *,
        shards: int = 1,
        kind: str | None = None,
    ) -> None:
        """Encode the constant parts.

        `content_type` is as sent: what is not text, or too long for a short string, is left out. `kind` is the AMQP
        type.
        """
        flags = properties.HEADERS | properties.DELIVERY_MODE | properties.MESSAGE_ID | properties.TIMESTAMP
        if content_type:
            content_type = content_type.encode("utf-8", "replace")[:255].decode("utf-8", "ignore")
        flags |= properties.CONTENT_TYPE if content_type else 0
        flags |= properties.CORRELATION_ID | properties.REPLY_TO if reply_to else 0
        flags |= properties.TYPE if kind else 0
        self._head = properties.FLAGS.pack(flags) + (pamqp.encode.short_string(content_type) if content_type else b"")
        headers = (("account", account), ("event", event), ("platform", platform))
        self._table = b"".join(properties.header(name, value) for name, value in headers) + _BEFORE_TIME
        self._size = len(self._table) + _MOMENT + len(_BEFORE_TRACE) + _TRACE
        self._begin = self._head + properties.LENGTH.pack(self._size) + self._table
        """The beginning of a stamp without further headers."""
        self._reply_to = pamqp.encode.short_string(reply_to) if reply_to else None
        self._tail = pamqp.encode.short_string(kind) if kind else b""
        self._shards = shards

    def __call__(
        self,
        message_id: str,
        received_at: float,
        traceparent: str,
        deadline: float | None = None,
        language: str | None = None,
        clock: float | None = None,
        verdict: str | None = None,
    ) -> bytes:
        """Return the encoded property flags and list. Times are Unix seconds; `traceparent` has 55 characters."""
        begin, more = self._begin, b""
        if deadline is not None:
            more = properties.header("deadline", rfc3339_of(deadline))
        if language:
            more += properties.header("accept-language", language)
        if clock is not None:
            more += properties.header("clock", f"{clock:.6f}")
        if verdict:
            more += properties.header("verdict", verdict)
        if more or self._shards > 1:
            copied = _bcc(shard_key(message_id, self._shards)) if self._shards > 1 else b""
            begin = self._head + _pack_length(len(copied) + self._size + len(more)) + copied + self._table
        identity = message_id.encode("ascii")
        name = b"%c%b" % (len(identity), identity)
        return b"".join(
            (
                begin,
                rfc3339_of(received_at).encode(),
                _BEFORE_TRACE,
                traceparent.encode(),
                more,
                _PERSISTENT,
                name + self._reply_to if self._reply_to else b"",
                name,
                self._TIMESTAMP.pack(int(received_at + 5e-7)),  # the second of the text
                self._tail,
            )
        )


@cache
def _bcc(key: str) -> bytes:
    """Return the header `BCC`: a list of one routing key."""
    data = b"S" + len(key).to_bytes(4, "big") + key.encode("ascii")
    return b"\x03BCCA" + len(data).to_bytes(4, "big") + data


_REST = struct.Struct("17s27s17s55s2s36s8s")
"""The part after the constant headers, which differs among the messages of a URL whose senders do not wait."""
_KNOWN_MAX = 1000
_known: dict[bytes, tuple[str, str, str, str | None]] = {}
"""Platform, account, event and content type, by the constant beginning of a stamp of ours, which is decoded once."""


def from_properties(encoded: bytes) -> Envelope:
    """Return the envelope of a message with these encoded properties.

    Raises ValueError, which names what is missing or wrong, if the message is not ours.
    """
    place = len(encoded) - _REST.size
    known = _known.get(encoded[:place]) if place > 0 else None
    if known is None:
        envelope = of(properties.read(encoded))
        if place > 0 and _REST.unpack_from(encoded, place)[:5:2] == _BETWEEN:
            _remember(envelope, encoded[:place])
        return envelope
    before_time, moment, before_trace, traceparent, before_name, name, _ = _REST.unpack_from(encoded, place)
    if (before_time, before_trace, before_name) != _BETWEEN:
        return of(properties.read(encoded))
    platform, account, event, content_type = known
    try:
        return Envelope(
            message_id=name.decode(),
            platform=platform,
            account=account,
            event=event,
            received_at=datetime.fromisoformat(moment.decode()),
            content_type=content_type,
            traceparent=traceparent.decode(),
        )
    except UnicodeDecodeError:
        return of(properties.read(encoded))


def _remember(envelope: Envelope, before: bytes) -> None:
    """Remember `before` if it is how a stamp of ours begins for this envelope, whatever follows."""
    special = (
        envelope.reply_to,
        envelope.deadline,
        envelope.language,
        envelope.clock,
        envelope.verdict,
        envelope.type,
    )
    if special == (None,) * 6:
        constant = envelope.platform, envelope.account, envelope.event, envelope.content_type
        stamp = Stamp(*constant, None)
        if stamp("0" * _ID, 0.0, "0" * _TRACE)[: -_REST.size] == before:
            if len(_known) >= _KNOWN_MAX:
                _known.clear()  # senders choose their content types
            _known[before] = constant


def of(decoded: Properties) -> Envelope:
    """Return the envelope of a message with these decoded properties. Raises ValueError like `from_properties`."""
    headers = decoded.headers
    try:
        deadline, clock = headers.get("deadline"), headers.get("clock")
        return Envelope(
            message_id=_text(decoded.message_id),
            platform=_text(headers["platform"]),
            account=_text(headers["account"]),
            event=_text(headers["event"]),
            received_at=datetime.fromisoformat(_text(headers["received-at"])),
            content_type=decoded.content_type,
            traceparent=headers.get("traceparent"),
            reply_to=decoded.reply_to,
            deadline=datetime.fromisoformat(_text(deadline)).timestamp() if deadline else None,
            language=headers.get("accept-language"),
            clock=float(_text(clock)) if clock else None,
            verdict=headers.get("verdict"),
            type=decoded.type,
        )
    except KeyError as missing:
        raise ValueError(f"header {missing} is missing") from None


def _text(value: object) -> str:
    """Return a non-empty text. Raises ValueError for any other value."""
    if type(value) is str and value:
        return value
    if isinstance(value, bytes):
        value = value.decode()
    if not isinstance(value, str) or not value:
        raise ValueError(f"a property should be text and is {type(value).__name__}")
    return value
