"""Ids of messages and trace contexts: their form, their order, and how random they are."""

import time
from uuid import RFC_4122, UUID

import pytest

from broker import ids

MANY = 5000


def test_an_id_is_a_uuid_of_version_7() -> None:
    before = time.time_ns() // 1_000_000
    names = [ids.message_id() for _ in range(MANY)]
    after = time.time_ns() // 1_000_000
    parsed = [UUID(name) for name in names]
    assert [str(id_) for id_ in parsed] == names  # 36 characters, in lower case
    assert {(id_.version, id_.variant) for id_ in parsed} == {(7, RFC_4122)}
    assert all(before <= id_.int >> 80 <= after for id_ in parsed)


def test_ids_of_later_milliseconds_sort_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for moment in (1_795_685_400_000, 1_795_685_400_001, 1_795_685_400_255, 2_000_000_000_000):
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment * 1_000_000 + 999_999)
        names.append(ids.message_id())
        assert UUID(names[-1]).int >> 80 == moment
    assert names == sorted(names)


def test_all_that_is_random_of_an_id_differs() -> None:
    """74 bits: each is 0 and 1 about as often."""
    values = [UUID(ids.message_id()).int for _ in range(MANY)]
    assert len(set(values)) == MANY
    for bit in (*range(62), *range(64, 76)):
        assert MANY * 0.4 < sum(value >> bit & 1 for value in values) < MANY * 0.6, bit


def test_a_new_trace_is_valid_and_not_an_old_one() -> None:
    traces = [ids.traceparent(None) for _ in range(MANY)]
    assert all(map(ids.is_traceparent, traces))
    assert len({trace[3:35] for trace in traces}) == MANY
    assert len({trace[36:52] for trace in traces}) == MANY
    assert (
        len({trace[34] for trace in traces}) == len({trace[51] for trace in traces}) == 16
    )  # samplers look at the last


@pytest.mark.parametrize(
    ("sent", "is_kept"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        ("", False),
    ],
)
def test_a_trace_that_was_sent_is_kept_if_it_is_valid(sent: str, is_kept: bool) -> None:
    assert (ids.traceparent(sent) == sent) is is_kept
    assert ids.is_traceparent(ids.traceparent(sent))
