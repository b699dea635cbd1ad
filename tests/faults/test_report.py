"""The tables say what was counted, and a run that lost something does not succeed."""

from pathlib import Path

import pytest

from tests.faults import report
from tests.faults.suite import TIME_IS_UP, Done
from tests.faults.trial import Row
from tests.faults.verdict import Verdict

CLEAN = Row("cut", posts=1200, accepted=1100, refused=90, unanswered=10, recovery=1.25)
BLAMED = Row("hung", posts=10, accepted=10, recovery=3.0, verdict=Verdict(innocent=3, dead=4))
UNMET = Row("poison", posts=10, accepted=10, recovery=3.0, unmet="the poison is not in quarantine")
LOST = Row("killed", posts=10, accepted=10, recovery=3.0, verdict=Verdict(missing=2, crowded=1, wrong=1))


@pytest.mark.parametrize(
    ("done", "passed"),
    [
        (Done("a", CLEAN), True),
        (Done("a", LOST), False),
        (Done("a", BLAMED), False),
        (Done("a", UNMET), False),
        (Done("a", UNMET, mutant="isolation", shows="in quarantine"), True),
        (Done("a", UNMET, mutant="size", shows=" MiB"), False),
        (Done("a", Row("never came back", posts=10, accepted=10)), False),
        (Done("a", Row("disk full", skipped="takes root")), True),
        (Done("a", Row("too late", skipped=TIME_IS_UP)), False),
        (Done("a", Row("did not start", error="no port")), False),
        (Done("a", Row("did not start", error="no port"), mutant="ack"), False),
        (Done("a", LOST, mutant="confirm", shows="missing"), True),
        (Done("a", LOST, mutant="limit", shows="innocent"), False),
        (Done("a", CLEAN, mutant="confirm", shows="missing"), False),
    ],
)
def test_what_passes(done: Done, passed: bool) -> None:
    assert done.passed is passed


def test_a_row_is_what_was_counted() -> None:
    assert report.cells(CLEAN) == ("1200", "1100", "90", "10", "1.2 s", *["0"] * 8)
    assert report.cells(LOST) == ("10", "10", "0", "0", "3.0 s", "2", "0", "0", "0", "0", "2", "0", "0")
    assert report.cells(BLAMED)[-2:] == ("3", "4")


def test_the_summary_adds_up_and_leaves_mutants_out() -> None:
    lines = report.summary(
        [Done("a", CLEAN), Done("a", LOST), Done("b", LOST, mutant="ack", shows="missing")]
    ).splitlines()
    assert lines[2:] == ["| a | 2 | 1,210 | 1,110 | 90 | 10 | 3.0 s | 2 | 0 | 0 | 0 | 0 | 2 | 0 | 0 |"]


def test_the_sentence_adds_up_leaves_mutants_out_and_hides_no_failure() -> None:
    run = [Done("a", CLEAN), Done("b", LOST), Done("c", LOST, mutant="ack", shows="missing")]
    assert report.total(run).startswith(
        "**2 faults, 1,210 posts, 1,110 accepted, slowest recovery 3.0 s: missing 2, twice 0"
    )
    broken = [Done("a", Row("b", posts=1, accepted=1)), Done("a", Row("c", error="no port"))]
    assert report.total(broken).startswith(
        "**1 faults, 1 failed or not run, 1 posts, 1 accepted, slowest recovery never: "
    )


def test_the_summary_hides_no_failure() -> None:
    rows = [Done("a", CLEAN), Done("a", Row("b", posts=1, accepted=1)), Done("a", Row("c", error="no port"))]
    lines = report.summary(rows).splitlines()
    assert lines[2:] == ["| a | 2, 1 failed | 1,201 | 1,101 | 90 | 10 | never | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |"]


def test_only_what_is_between_the_markers_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("before\n<!-- faults -->\nold\n<!-- /faults -->\nafter\n")
    report.write(file, "faults", "new")
    assert file.read_text() == "before\n<!-- faults -->\nnew\n<!-- /faults -->\nafter\n"
    with pytest.raises(ValueError, match="soak"):
        report.write(file, "soak", "new")
