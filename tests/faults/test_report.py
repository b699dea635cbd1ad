"""The tables say what was counted, and a run that lost something does not succeed."""

from pathlib import Path

import pytest

from tests.faults import report
from tests.faults.catalogue import GROUPS, named
from tests.faults.mutant import SAFEGUARDS
from tests.faults.suite import MUTATIONS, TIME_IS_UP, Result, sites
from tests.faults.trial import Row
from tests.faults.verdict import Verdict

CLEAN = Row("cut", posts=1200, accepted=1100, refused=90, unanswered=10, recovery=1.25)
BLAMED = Row("hung", posts=10, accepted=10, recovery=3.0, verdict=Verdict(wrongly_quarantined=3, dead_or_unrouted=4))
UNMET = Row("poison", posts=10, accepted=10, recovery=3.0, unmet="the poison is not in quarantine")
LOST = Row(
    "killed", posts=10, accepted=10, recovery=3.0, verdict=Verdict(missing=2, beyond_the_limit=1, invalid_calls=1)
)


@pytest.mark.parametrize(
    ("result", "passed"),
    [
        (Result("a", CLEAN), True),
        (Result("a", LOST), False),
        (Result("a", BLAMED), False),
        (Result("a", UNMET), False),
        (Result("a", UNMET, mutant="isolation", shows="in quarantine"), True),
        (Result("a", UNMET, mutant="size", shows=" MiB"), False),
        (Result("a", Row("never came back", posts=10, accepted=10)), False),
        (Result("a", Row("disk full", skipped="takes root")), True),
        (Result("a", Row("too late", skipped=TIME_IS_UP)), False),
        (Result("a", Row("did not start", error="no port")), False),
        (Result("a", Row("did not start", error="no port"), mutant="ack"), False),
        (Result("a", LOST, mutant="confirm", shows="missing"), True),
        (Result("a", LOST, mutant="limit", shows="wrongly quarantined"), False),
        (Result("a", CLEAN, mutant="confirm", shows="missing"), False),
    ],
)
def test_a_run_passes_only_if_nothing_is_lost_and_every_mutant_is_detected(result: Result, passed: bool) -> None:
    assert result.passed is passed


def test_a_row_shows_every_count() -> None:
    assert report.cells(CLEAN) == ("1200", "1100", "90", "10", "1.2 s", *["0"] * 9)
    assert report.cells(LOST) == ("10", "10", "0", "0", "3.0 s", "2", "0", "0", "0", "0", "1", "1", "0", "0")
    assert report.cells(BLAMED)[-2:] == ("3", "4")


def test_the_summary_adds_up_the_rows_without_mutants() -> None:
    lines = report.summary(
        [Result("a", CLEAN), Result("a", LOST), Result("b", LOST, mutant="ack", shows="missing")]
    ).splitlines()
    assert lines[2:] == ["| a | 2 | 1,210 | 1,110 | 90 | 10 | 3.0 s | 2 | 0 | 0 | 0 | 0 | 1 | 1 | 0 | 0 |"]


def test_the_sentence_adds_up_the_rows_without_mutants_and_shows_failures() -> None:
    run = [Result("a", CLEAN), Result("b", LOST), Result("c", LOST, mutant="ack", shows="missing")]
    assert report.total(run).startswith(
        "**2 faults, 1,210 posts, 1,110 accepted, slowest recovery 3.0 s: missing 2, twice 0"
    )
    broken = [Result("a", Row("b", posts=1, accepted=1)), Result("a", Row("c", error="no port"))]
    assert report.total(broken).startswith(
        "**1 faults, 1 failed or not run, 1 posts, 1 accepted, slowest recovery never: "
    )


def test_the_summary_shows_failures() -> None:
    rows = [Result("a", CLEAN), Result("a", Row("b", posts=1, accepted=1)), Result("a", Row("c", error="no port"))]
    lines = report.summary(rows).splitlines()
    assert lines[2:] == ["| a | 2, 1 failed | 1,201 | 1,101 | 90 | 10 | never | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |"]


def test_only_the_text_between_the_markers_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("before\n<!-- faults -->\nold\n<!-- /faults -->\nafter\n")
    report.write(file, "faults", "new")
    assert file.read_text() == "before\n<!-- faults -->\nnew\n<!-- /faults -->\nafter\n"
    with pytest.raises(ValueError, match="soak"):
        report.write(file, "soak", "new")


def test_every_group_runs_on_a_site() -> None:
    assigned = [group.name for _, groups in sites(1) for group in groups]
    assert sorted(set(assigned)) == sorted(assigned)
    assert {group.name for group in GROUPS} <= set(assigned)


def test_every_safeguard_has_a_mutation_with_a_known_fault() -> None:
    assert sorted(mutation.safeguard for mutation in MUTATIONS) == sorted(SAFEGUARDS)
    assert {named(mutation.fault).name for mutation in MUTATIONS} == {mutation.fault for mutation in MUTATIONS}
