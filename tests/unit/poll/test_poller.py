"""What polling understands of an order, and when it comes again."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from broker import ids
from schemas import envelope, registry
from tests.support.apicbase import order
from workers.poll import apicbase, poller, worker
from workers.poll.apicbase import SOURCE

ODD = [b"5", b"null", b"[]", b'"x"', b"{}", b'{"id":null}', b'{"id":{}}', b'{"id":true}', b'{"id":"\xff"}', b"[" * 9999]


def test_an_order_is_recognised_by_its_id_and_content() -> None:
    raw = registry.example("apicbase", "purchase_order")
    compact, other = poller.read(SOURCE, raw), poller.read(SOURCE, msgspec.json.format(raw, indent=4))
    assert (compact.key, compact.digest) == (other.key, other.digest)
    assert compact.raw == raw
    changed = poller.read(SOURCE, raw.replace(b"11.90", b"11.91"))
    assert changed.key == compact.key
    assert changed.digest != compact.digest
    assert poller.read(SOURCE, order("A")).key != compact.key
    assert compact.status == "ORDERED"
    assert compact.placed_at == datetime(2026, 11, 2, 7, 41, 27, 318000, tzinfo=UTC)


@pytest.mark.parametrize("raw", ODD)
def test_a_value_that_is_not_an_order_is_recognised_by_its_bytes(raw: bytes) -> None:
    reading = poller.read(SOURCE, raw)
    assert (reading.raw, reading.status, reading.placed_at) == (raw, None, None)
    assert len({poller.read(SOURCE, entry).key for entry in ODD}) == len(ODD)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-02T08:41:27.318000+01:00", datetime(2026, 11, 2, 7, 41, 27, 318000, UTC)),
        ("2026-11-02T08:41:27Z", datetime(2026, 11, 2, 8, 41, 27, 0, UTC)),
        ("2026-11-02T08:41:27", datetime(2026, 11, 2, 8, 41, 27, 0, UTC)),
        ("2026-11-02 08:41", datetime(2026, 11, 2, 8, 41, 0, 0, UTC)),
        ("2026-11-02", datetime(2026, 11, 2, 0, 0, 0, 0, UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("1970-01-01", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_moments_are_read_or_none(text: str | None, expected: datetime | None) -> None:
    assert apicbase.moment(text) == expected


def test_ids_and_traces_fit_the_envelope() -> None:
    names = [ids.message_id() for _ in range(1000)]
    assert len(set(names)) == 1000
    assert {(UUID(name).version, UUID(name).variant) for name in names} == {(7, UUID(names[0]).variant)}
    stamp = envelope.Stamp("apicbase", "acme", "purchase_order", "application/json", None)
    reading = envelope.from_properties(stamp(names[0], 1e9, ids.traceparent(None)))
    assert (reading.message_id, reading.reply_to, reading.deadline) == (names[0], None, None)


def test_a_failing_account_is_polled_less_and_less_often() -> None:
    for failures, expected in enumerate((60, 120, 240, 480, 900, 900)):
        assert worker.pause(60, failures) == pytest.approx(expected, rel=0.1)
    assert worker.pause(3600, 5) == pytest.approx(3600, rel=0.1)
    assert worker.pause(60, 10_000) == pytest.approx(900, rel=0.1)
