"""Versions as a pure function of receipts."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from workers.store.versions import Receipt, Version, follow, identity, runs, uuid8

DOCUMENT = ("apicbase", "acme", "apicbase.purchase_order", "K")
START = datetime(2026, 11, 1, tzinfo=UTC)
DAY = 86_400.0


def receipts(content: str, seconds: Sequence[float] | None = None) -> list[Receipt]:
    """One a letter, a second apart."""
    moments = seconds or range(len(content))
    return [
        Receipt(START + timedelta(seconds=moment), UUID(int=n), letter.encode())
        for n, (letter, moment) in enumerate(zip(content, moments, strict=True))
    ]


def said(found: Sequence[Version]) -> list[tuple[int, str, int, int]]:
    """Version, content, occurrence, times received."""
    return [(run.version, run.digest.decode(), run.occurrence, run.times_received) for run in found]


def test_runs_of_equal_content_are_versions() -> None:
    assert said(runs(DOCUMENT, receipts("AABAAA"), None)) == [(1, "A", 0, 2), (2, "B", 0, 1), (3, "A", 1, 3)]
    assert runs(DOCUMENT, [], None) == []


def test_a_version_begins_and_ends_with_its_receipts() -> None:
    posts = receipts("AAB")
    first, second = runs(DOCUMENT, posts, None)
    assert (first.first, first.last_received_at) == (posts[0], posts[1].received_at)
    assert (second.first, second.last_received_at) == (posts[2], posts[2].received_at)


def test_equal_moments_are_ordered_by_message_id() -> None:
    assert said(runs(DOCUMENT, reversed(receipts("ABA", [0, 0, 0])), None)) == said(
        runs(DOCUMENT, receipts("ABA"), None)
    )


def test_the_repeat_window_counts_from_the_last_receipt_and_its_end_belongs_to_it() -> None:
    posts = receipts("AAAA", [0, DAY, 2 * DAY + 1, 3 * DAY])
    found = runs(DOCUMENT, posts, DAY)
    assert said(found) == [(1, "A", 0, 2), (2, "A", 1, 2)]
    assert [run.repeated for run in found] == [False, True]
    assert not any(run.repeated for run in runs(DOCUMENT, receipts("ABA", [0, 1, 9 * DAY]), DAY))


def test_ids_say_document_content_and_occurrence() -> None:
    ids = {identity(DOCUMENT, digest, n) for digest in (b"A", b"B") for n in range(3)}
    others = {identity((*DOCUMENT[:3], "L"), b"A", 0), identity(("ustore", *DOCUMENT[1:]), b"A", 0)}
    assert len(ids | others) == 8
    assert identity(DOCUMENT, b"A", 0) == UUID("79a7d339-7b01-8c64-b935-d5e271e4dc92")
    assert identity(("a", "b", "c", "\ud800"), b"", 0).version == 8


def test_ids_are_uuids_of_version_8() -> None:
    for n in range(200):
        made = uuid8(bytes([n]))
        assert (made.version, made.variant) == (8, "specified in RFC 4122")


contents = st.lists(st.tuples(st.sampled_from([b"A", b"B", b"C"]), st.integers(0, 12), st.integers(0, 3)), max_size=12)
windows = st.sampled_from([None, 2.0])


def posted(drawn: Sequence[tuple[bytes, int, int]]) -> list[Receipt]:
    made = [Receipt(START + timedelta(seconds=at), UUID(int=id_), digest) for digest, at, id_ in drawn]
    return list({(one.received_at, one.message_id): one for one in made}.values())


@given(contents, windows, st.randoms(use_true_random=False))
def test_the_order_of_processing_does_not_matter(
    drawn: list[tuple[bytes, int, int]], window: float | None, chance: Random
) -> None:
    posts = posted(drawn)
    shuffled = posts[:]
    chance.shuffle(shuffled)
    assert runs(DOCUMENT, shuffled, window) == runs(DOCUMENT, posts, window)


@given(contents, windows)
def test_every_receipt_counts_once_and_neighbours_differ(
    drawn: list[tuple[bytes, int, int]], window: float | None
) -> None:
    posts = posted(drawn)
    found = runs(DOCUMENT, posts, window)
    assert sum(run.times_received for run in found) == len(posts)
    assert [run.version for run in found] == list(range(1, len(found) + 1))
    assert len({run.id for run in found}) == len(found)
    for before, after in itertools.pairwise(found):
        gap = (after.first.received_at - before.last_received_at).total_seconds()
        assert before.digest != after.digest or (window is not None and gap > window and after.repeated)


@given(contents, contents, windows)
def test_carrying_on_from_the_newest_version_comes_to_the_same_wherever_that_is_allowed(
    old: list[tuple[bytes, int, int]], new: list[tuple[bytes, int, int]], window: float | None
) -> None:
    before = posted(old)
    known = {(one.received_at, one.message_id) for one in before}
    more = [one for one in posted(new) if (one.received_at, one.message_id) not in known]
    sofar = runs(DOCUMENT, before, window)
    if not sofar or not follow(sofar[-1], more):
        return
    seen: dict[bytes, int] = {}
    for run in sofar:
        seen[run.digest] = seen.get(run.digest, 0) + 1
    carried = runs(DOCUMENT, more, window, before=sofar[-1], seen=seen)
    assert sofar[:-1] + carried == runs(DOCUMENT, before + more, window)
