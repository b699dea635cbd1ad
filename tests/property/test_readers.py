"""No byte string makes a reader raise anything but Unreadable, and what it reads can always be stored."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings

from schemas import documents
from schemas.platform import Event, Line, ParsedDocument, Platform, UnreadableError
from tests.support.bodies import BOUNDED, DEEPLY, NASTY, known, posts
from tests.support.readers import can_be_stored, describe, every_reader_behaves


@settings(BOUNDED, max_examples=700)
@given(posts())
def test_readers_of_any_bytes_raise_only_documented_errors(post: tuple[Platform, Event, bytes]) -> None:
    every_reader_behaves(*post)


@pytest.mark.parametrize("nasty", NASTY, ids=lambda nasty: repr(nasty[:20]))
def test_readers_of_unusual_identifying_values_raise_only_documented_errors(nasty: bytes) -> None:
    for platform, event, body in known():
        every_reader_behaves(platform, event, nasty)
        for name in MATTER:
            if (raw := replaced(body, name, nasty)) is not None:
                every_reader_behaves(platform, event, raw)


@pytest.mark.parametrize("deep", DEEPLY, ids=lambda deep: repr(deep[:6] + deep[-1:]))
def test_nesting_of_a_hundred_thousand_levels_is_unreadable_or_ignored(deep: bytes) -> None:
    closed = not deep.endswith(b"[")
    for platform, event, body in known():
        assert describe(platform, event, deep) is None
        # Where nobody looks, the rest is read; what never closes is no JSON.
        unread = describe(platform, event, b'{"unread": ' + deep + b"," + body.lstrip().removeprefix(b"{"))
        assert (unread is not None) == closed
        if unread is not None:
            can_be_stored(unread, b"")
            assert unread.flags == (documents.NOT_JSONB,)
            assert unread.reading == platform.read(event.name, body)
        name = next(name for name in MATTER if replaced(body, name, b"") is not None)
        raw = replaced(body, name, deep)
        assert raw is not None
        other = describe(platform, event, raw)  # under another name it has, or not at all
        assert other is None or (closed and other.flags == (documents.NOT_JSONB,))
        with suppress(UnreadableError):
            platform.decode(event.name, raw)


MATTER = tuple(
    f'"{name}"'.encode()
    for name in (
        *("orderNo", "@OrderId", "receipt_id", "channelOrderId", "id", "@id", "Sscc", "type", "quantity", "shippedAt"),
        *("itemPrice", "quantity_ordered", "received_qty", "note_attributes_ship_to", "TotalUnits"),
        *("Order", "OrderProduct", "packages", "items", "lineItems", "additionalFields", "supplier_package"),
    )
)
"""What identifies, what is counted, what is a part; the first that a body has is part of its identity, or nearly."""


def replaced(body: bytes, name: bytes, value: bytes) -> bytes | None:
    """`body` with `value` under the first `name`, and what was there under another; None without that name."""
    start, match, rest = body.partition(name)
    if not match or not rest.lstrip().startswith(b":"):
        return None
    return start + match + b": " + value + b', "was"' + rest


@settings(BOUNDED, max_examples=200)
@given(posts(), posts())
def test_an_event_reads_the_bodies_of_other_events_or_refuses_them(
    post: tuple[Platform, Event, bytes], other: tuple[Platform, Event, bytes]
) -> None:
    every_reader_behaves(post[0], post[1], other[2])


@settings(BOUNDED, max_examples=300)
@given(posts())
def test_a_decoded_body_survives_a_round_trip(post: tuple[Platform, Event, bytes]) -> None:
    platform, event, raw = post
    try:
        decoded = platform.decode(event.name, raw)
    except UnreadableError:
        return
    once = msgspec.json.encode(decoded)
    assert msgspec.json.encode(platform.decode(event.name, once)) == once


def test_readings_and_their_lines_compare_by_value() -> None:
    for platform, event, raw in known():
        first, again = platform.read(event.name, raw), platform.read(event.name, raw)
        assert first == again
        assert isinstance(first, ParsedDocument)
        assert all(isinstance(line, Line) for line in first.lines)
