"""Versions as a pure function of receipts."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from workers.store.ids import uuid8, version_id
from workers.store.versions import Receipt, Version, derive_versions, is_continuation

DOCUMENT = ("apicbase", "acme", "apicbase.purchase_order", "K")
START = datetime(2026, 11, 1, tzinfo=UTC)
DAY = 86_400.0


def receipts(content: str, seconds: Sequence[float] | None = None) -> list[Receipt]:
    """One receipt per letter, a second apart."""
    moments = seconds or range(len(content))
    return [
        Receipt(START + timedelta(seconds=moment), UUID(int=n), letter.encode())
        for n, (letter, moment) in enumerate(zip(content, moments, strict=True))
    ]


def summary(versions: Sequence[Version]) -> list[tuple[int, str, int, int]]:
    """Version, content, occurrence, times received."""
    return [
        (version.number, version.digest.decode(), version.occurrence, version.times_received) for version in versions
    ]


def test_runs_of_equal_content_are_versions() -> None:
    assert summary(derive_versions(DOCUMENT, receipts("AABAAA"), None)) == [
        (1, "A", 0, 2),
        (2, "B", 0, 1),
        (3, "A", 1, 3),
    ]
    assert derive_versions(DOCUMENT, [], None) == []


def test_a_version_begins_and_ends_with_its_receipts() -> None:
    posts = receipts("AAB")
    first, second = derive_versions(DOCUMENT, posts, None)
    assert (first.first, first.last_received_at) == (posts[0], posts[1].received_at)
    assert (second.first, second.last_received_at) == (posts[2], posts[2].received_at)


def test_equal_moments_are_ordered_by_message_id() -> None:
    assert summary(derive_versions(DOCUMENT, reversed(receipts("ABA", [0, 0, 0])), None)) == summary(
        derive_versions(DOCUMENT, receipts("ABA"), None)
    )


def test_the_repeat_window_counts_from_the_last_receipt_and_its_end_belongs_to_it() -> None:
    posts = receipts("AAAA", [0, DAY, 2 * DAY + 1, 3 * DAY])
    versions = derive_versions(DOCUMENT, posts, DAY)
    assert summary(versions) == [(1, "A", 0, 2), (2, "A", 1, 2)]
    assert [version.is_repeat for version in versions] == [False, True]
    assert not any(version.is_repeat for version in derive_versions(DOCUMENT, receipts("ABA", [0, 1, 9 * DAY]), DAY))


def test_ids_say_document_content_and_occurrence() -> None:
    ids = {version_id(DOCUMENT, digest, n) for digest in (b"A", b"B") for n in range(3)}
    others = {version_id((*DOCUMENT[:3], "L"), b"A", 0), version_id(("ustore", *DOCUMENT[1:]), b"A", 0)}
    assert len(ids | others) == 8
    assert version_id(DOCUMENT, b"A", 0) == UUID("79a7d339-7b01-8c64-b935-d5e271e4dc92")
    assert version_id(("a", "b", "c", "\ud800"), b"", 0).version == 8


def test_ids_are_uuids_of_version_8() -> None:
    for n in range(200):
        id_ = uuid8(bytes([n]))
        assert (id_.version, id_.variant) == (8, "specified in RFC 4122")


contents = st.lists(st.tuples(st.sampled_from([b"A", b"B", b"C"]), st.integers(0, 12), st.integers(0, 3)), max_size=12)
windows = st.sampled_from([None, 2.0])


def posted(drawn: Sequence[tuple[bytes, int, int]]) -> list[Receipt]:
    result = [Receipt(START + timedelta(seconds=at), UUID(int=id_), digest) for digest, at, id_ in drawn]
    return list({(receipt.received_at, receipt.message_id): receipt for receipt in result}.values())


@given(contents, windows, st.randoms(use_true_random=False))
def test_the_order_of_processing_does_not_matter(
    drawn: list[tuple[bytes, int, int]], window: float | None, chance: Random
) -> None:
    posts = posted(drawn)
    shuffled = posts[:]
    chance.shuffle(shuffled)
    assert derive_versions(DOCUMENT, shuffled, window) == derive_versions(DOCUMENT, posts, window)


@given(contents, windows)
def test_every_receipt_counts_once_and_neighbours_differ(
    drawn: list[tuple[bytes, int, int]], window: float | None
) -> None:
    posts = posted(drawn)
    versions = derive_versions(DOCUMENT, posts, window)
    assert sum(version.times_received for version in versions) == len(posts)
    assert [version.number for version in versions] == list(range(1, len(versions) + 1))
    assert len({version.id for version in versions}) == len(versions)
    for before, after in itertools.pairwise(versions):
        gap = (after.first.received_at - before.last_received_at).total_seconds()
        assert before.digest != after.digest or (window is not None and gap > window and after.is_repeat)


@given(contents, contents, windows)
def test_continuing_from_the_newest_version_gives_the_same_versions(
    old: list[tuple[bytes, int, int]], new: list[tuple[bytes, int, int]], window: float | None
) -> None:
    before = posted(old)
    known = {(receipt.received_at, receipt.message_id) for receipt in before}
    more = [receipt for receipt in posted(new) if (receipt.received_at, receipt.message_id) not in known]
    sofar = derive_versions(DOCUMENT, before, window)
    if not sofar or not is_continuation(sofar[-1], more):
        return
    seen: dict[bytes, int] = {}
    for version in sofar:
        seen[version.digest] = seen.get(version.digest, 0) + 1
    carried = derive_versions(DOCUMENT, more, window, previous=sofar[-1], occurrences=seen)
    assert sofar[:-1] + carried == derive_versions(DOCUMENT, before + more, window)
