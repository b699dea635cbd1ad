"""Message properties by the fast encoder, held against the general one."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pamqp.commands import Basic

from broker import replies
from schemas import properties
from schemas.envelope import RECORD_TYPE, Envelope, Stamp, from_properties, of, rfc3339, rfc3339_of, to_properties
from schemas.topology import shard_key

NAME = "0193f2a4-5b6c-7d8e-9f01-23456789abcd"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECONDS = 1_795_685_400.25
MOMENT = datetime.fromtimestamp(SECONDS, UTC)


@pytest.mark.parametrize("content_type", [None, "application/json; charset=utf-8"])
@pytest.mark.parametrize("reply_to", [None, "amq.rabbitmq.reply-to"])
@pytest.mark.parametrize("kind", [None, RECORD_TYPE])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"deadline": SECONDS + 2, "clock": 12345.678901},
        {"deadline": SECONDS, "language": "de, en;q=0.5"},
        {"verdict": "accepted"},
        {"verdict": 'The article number "Ä-1" is not known to the supplier.'},
    ],
)
@pytest.mark.parametrize("shards", [1, 2])
def test_a_stamp_is_what_the_general_encoder_makes(
    content_type: str | None, reply_to: str | None, kind: str | None, more: dict[str, Any], shards: int
) -> None:
    stamp = Stamp("channelape", "rothys", "receipt_confirmation", content_type, reply_to, shards=shards, kind=kind)
    envelope = Envelope(
        message_id=NAME, platform="channelape", account="rothys", event="receipt_confirmation", received_at=MOMENT,
        content_type=content_type, traceparent=TRACE, reply_to=reply_to, type=kind, **more,
    )  # fmt: skip
    stamped = stamp(NAME, SECONDS, TRACE, **more)
    for _ in range(2):  # the second time what stands before the time is known
        assert from_properties(stamped) == envelope
    decoded, expected = properties.decode(stamped), properties.decode(to_properties(envelope).marshal())
    assert decoded.headers is not None
    assert decoded.headers.pop("BCC", None) == (None if shards == 1 else [shard_key(NAME, shards)])
    assert dict(decoded) == dict(expected)


@pytest.mark.parametrize("fraction", [0.0, 0.0000004, 0.9999994, 0.9999997])
@pytest.mark.parametrize("second", [0, 1_795_685_400])
def test_header_and_property_of_a_stamp_tell_the_same_second(second: int, fraction: float) -> None:
    """Rounded to microseconds, which may be the next second's."""
    stamp = Stamp("channelape", "rothys", "receipt_confirmation", None, None)
    decoded = properties.decode(stamp(NAME, second + fraction, TRACE))
    assert decoded.headers is not None
    moment = datetime.fromisoformat(str(decoded.headers["received-at"]))
    assert decoded.timestamp == moment.replace(microsecond=0)
    assert abs(moment.timestamp() - second - fraction) < 1e-6


NEXT = "0193f2a4-5b6c-7d8e-9f01-23456789ffff"
LATER = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-00"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data,
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data.replace(b"received-at", b"received-by"),
        lambda data: data.replace(b"traceparent", b"tracepareNt"),
        lambda data: data.replace(b"\x02$", b"\x01$"),
        lambda data: data.replace(b"\x02$", b"\x02#"),
        lambda data: data.replace(b"2026-", b"2O26-"),
        lambda data: data.replace(b"rothys", b"rothy2"),
        lambda data: data.replace(LATER.encode(), b"\xff" * len(LATER)),
        lambda data: data.replace(NEXT.encode(), b"\xff" * len(NEXT)),
    ],
)
def test_a_message_of_a_known_url_is_read_as_any_other(spoil: Callable[[bytes], bytes]) -> None:
    stamp = Stamp("channelape", "rothys", "receipt_confirmation", "application/json", None)
    from_properties(stamp(NAME, SECONDS, TRACE))
    encoded = spoil(stamp(NEXT, SECONDS + 60.5, LATER))

    def outcome(read: Callable[[], Envelope]) -> Envelope | type[Exception]:
        try:
            return read()
        except ValueError:
            return ValueError

    assert outcome(lambda: from_properties(encoded)) == outcome(lambda: of(properties.read(encoded)))


def test_the_urls_that_are_known_are_read_without_the_general_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = Stamp("channelape", "rothys", "receipt_confirmation", "application/json", None)
    from_properties(stamp(NAME, SECONDS, TRACE))
    monkeypatch.setattr(properties, "read", None)
    decoded = from_properties(stamp(NEXT, SECONDS + 60.5, LATER))
    assert (decoded.message_id, decoded.traceparent) == (NEXT, LATER)
    assert decoded.received_at.timestamp() == SECONDS + 60.5


@pytest.mark.parametrize("shards", [2, 64])
def test_with_shards_a_stamp_names_one(shards: int) -> None:
    stamped = Stamp("apicbase", "acme", "purchase_order", None, None, shards=shards)(NAME, SECONDS, TRACE)
    headers = properties.decode(stamped).headers
    assert headers is not None
    assert headers["BCC"] == [shard_key(NAME, shards)]
    assert from_properties(stamped).message_id == NAME


@pytest.mark.parametrize("micros", [0, 1, 123_456, 250_000, 999_999])
@pytest.mark.parametrize("second", [0, 1_000_000_000, 1_795_685_399, 1_795_685_400, 4_000_000_000])
def test_a_moment_that_was_read_is_written_as_it_was(second: int, micros: int) -> None:
    """The record of an allocation says when its request was received: in the same words."""
    text = rfc3339(datetime.fromtimestamp(second, UTC).replace(microsecond=micros))
    assert rfc3339_of(datetime.fromisoformat(text).timestamp()) == text


@pytest.mark.parametrize("status", [200, 400, 422, 503])
def test_an_answer_is_what_the_general_encoder_makes(status: int) -> None:
    name, encoded = replies.encode_answer(NAME, status, "application/problem+json")
    properties_ = Basic.Properties(
        content_type="application/problem+json", headers={"status": status}, delivery_mode=1,
        correlation_id=NAME, message_id=name,
    )  # fmt: skip
    assert encoded == properties_.marshal()
