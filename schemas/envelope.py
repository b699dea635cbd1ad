"""The AMQP properties and headers of a message on `crossdock.inbound`, to and from a Struct (contract §4)."""

import struct
import time
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

import msgspec
import pamqp.encode
from pamqp.commands import Basic

from schemas import properties
from schemas.properties import Properties
from schemas.topology import shard_key

PERSISTENT = 2
RECORD_TYPE = "crossdock.allocation"
"""AMQP `type` of the route worker's note to the store worker; inbound messages carry none."""


ACCEPTED = "accepted"
"""The verdict that a sender was answered 200; any other one is the reason why its order was refused."""
VERDICT_LENGTH = 1000
"""Characters of a verdict's reason that are kept."""


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
    clock: float | None = None
    """Seconds of the ingress's monotonic clock when the request was received. With `deadline` less `received_at` it
    tells how long a request has waited, whatever the wall clocks of two machines say (`workers.route.lateness`)."""
    verdict: str | None = None
    """What the sender was told about its order: `ACCEPTED`, or the reason why it was refused. None: nothing yet."""
    type: str | None = None


def rfc3339(moment: datetime) -> str:
    """`2026-11-21T09:30:00.123456Z`: UTC, always six decimals, so that text order is time order."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat("T", "microseconds")[:26] + "Z"


@lru_cache(4)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).isoformat()[:19]


def rfc3339_of(seconds: float) -> str:
    """The same of Unix seconds; the text of a second is kept, since many messages share it."""
    whole, micros = divmod(int(seconds * 1e6 + 0.5), 1_000_000)  # the nearest float to a microsecond may be less
    return f"{_second(whole)}.{micros:06d}Z"


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
    if envelope.clock is not None:
        headers["clock"] = f"{envelope.clock:.6f}"
    if envelope.verdict:
        headers["verdict"] = envelope.verdict
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


_BETWEEN = (b"\x0breceived-atS\0\0\0\x1b", b"\x0btraceparentS\0\0\x007", b"\x02$")
"""In a stamp: what stands before the time of 27 characters, the trace context of 55 and an id of 36."""
_BEFORE_TIME, _BEFORE_TRACE, _ = _BETWEEN
_PERSISTENT = bytes((PERSISTENT,))


class Stamp:
    """The properties of `to_properties` for one account's event, encoded, what never changes just once; with several
    shards, also a BCC header (RabbitMQ: "sender-selected distribution") with the shard that stores it.

    One is made per URL and content type; a test holds what they decode to against pamqp's own.
    """

    _FLAGS = struct.Struct(">H")
    _LONG = struct.Struct(">I")
    _STAMP = struct.Struct(">Q")
    # AMQP 0-9-1 §4.2.6: bit 15 is the first property, content-type.
    _CONTENT_TYPE, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 13, 1 << 12
    _CORRELATION, _REPLY_TO, _MESSAGE_ID, _TIMESTAMP, _TYPE = 1 << 10, 1 << 9, 1 << 7, 1 << 6, 1 << 5

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
        """`content_type` as it was sent: what isn't text, or too long for a short string, is left out of it.
        `kind`: the AMQP type."""
        flags = self._HEADERS | self._DELIVERY_MODE | self._MESSAGE_ID | self._TIMESTAMP
        if content_type:
            content_type = content_type.encode("utf-8", "replace")[:255].decode("utf-8", "ignore")
        flags |= self._CONTENT_TYPE if content_type else 0
        flags |= self._CORRELATION | self._REPLY_TO if reply_to else 0
        flags |= self._TYPE if kind else 0
        self._head = self._FLAGS.pack(flags) + (pamqp.encode.short_string(content_type) if content_type else b"")
        about = _entry("account", account) + _entry("event", event) + _entry("platform", platform)
        self._table = about + _BEFORE_TIME
        self._size = len(self._table) + 27 + len(_BEFORE_TRACE) + 55
        self._begin = self._head + self._LONG.pack(self._size) + self._table
        """Where the table has nothing more."""
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
        """Encoded property flags and list. Times in Unix seconds; `traceparent` has 55 characters."""
        begin, more = self._begin, b""
        if deadline is not None:
            more = _entry("deadline", rfc3339_of(deadline))
        if language:
            more += _entry("accept-language", language)
        if clock is not None:
            more += _entry("clock", f"{clock:.6f}")
        if verdict:
            more += _entry("verdict", verdict)
        if more or self._shards > 1:
            copied = _bcc(shard_key(message_id, self._shards)) if self._shards > 1 else b""
            begin = self._head + self._LONG.pack(len(copied) + self._size + len(more)) + copied + self._table
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
                self._STAMP.pack(int(received_at + 5e-7)),  # the second of the text
                self._tail,
            )
        )


def _entry(name: str, value: str) -> bytes:
    """One long string of a field table."""
    data = value.encode("utf-8", "replace")
    return bytes((len(name),)) + name.encode("ascii") + b"S" + len(data).to_bytes(4, "big") + data


@cache
def _bcc(key: str) -> bytes:
    """A list of one long string."""
    data = b"S" + len(key).to_bytes(4, "big") + key.encode("ascii")
    return b"\x03BCCA" + len(data).to_bytes(4, "big") + data


_REST = struct.Struct("17s27s17s55s2s36s8s")
"""What differs among the messages of one URL that nobody waits for: all that stands behind its own headers."""
_KEPT = 1000
_known: dict[bytes, tuple[str, str, str, str | None]] = {}
"""What stands before it in a stamp of ours, for each URL and content type that has come: read once."""


def from_properties(encoded: bytes) -> Envelope:
    """The reverse, from encoded properties. Raises ValueError naming what is missing or wrong: such a message isn't
    ours."""
    place = len(encoded) - _REST.size
    about = _known.get(encoded[:place]) if place > 0 else None
    if about is None:
        found = of(properties.read(encoded))
        if place > 0 and _REST.unpack_from(encoded, place)[:5:2] == _BETWEEN:
            _remember(found, encoded[:place])
        return found
    before_time, moment, before_trace, traceparent, before_name, name, _ = _REST.unpack_from(encoded, place)
    if (before_time, before_trace, before_name) != _BETWEEN:
        return of(properties.read(encoded))
    platform, account, event, content_type = about
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


def _remember(found: Envelope, before: bytes) -> None:
    """If `before` is how our own stamp begins for what was found, whatever follows."""
    special = (found.reply_to, found.deadline, found.language, found.clock, found.verdict, found.type)
    if special == (None,) * 6:
        about = found.platform, found.account, found.event, found.content_type
        stamp = Stamp(*about, None)
        if stamp("0" * 36, 0.0, "0" * 55)[: -_REST.size] == before:
            if len(_known) >= _KEPT:
                _known.clear()  # senders choose their content types
            _known[before] = about


def of(found: Properties) -> Envelope:
    """The envelope of properties that were read. Raises ValueError like `from_properties`."""
    headers = found.headers
    try:
        deadline, clock = headers.get("deadline"), headers.get("clock")
        return Envelope(
            message_id=_text(found.message_id),
            platform=_text(headers["platform"]),
            account=_text(headers["account"]),
            event=_text(headers["event"]),
            received_at=datetime.fromisoformat(_text(headers["received-at"])),
            content_type=found.content_type,
            traceparent=headers.get("traceparent"),
            reply_to=found.reply_to,
            deadline=datetime.fromisoformat(_text(deadline)).timestamp() if deadline else None,
            language=headers.get("accept-language"),
            clock=float(_text(clock)) if clock else None,
            verdict=headers.get("verdict"),
            type=found.type,
        )
    except KeyError as missing:
        raise ValueError(f"header {missing} is missing") from None


def _text(value: Any) -> str:
    if type(value) is str and value:
        return value
    if isinstance(value, bytes):
        value = value.decode()
    if not isinstance(value, str) or not value:
        raise ValueError(f"a property should be text and is {type(value).__name__}")
    return value
