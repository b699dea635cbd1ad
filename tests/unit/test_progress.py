"""What disagrees on a line of a transfer order, in words, and the bar that shows how far it is."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.console import progress
from ingress.console.progress import bar
from storage.progress import FLAGS, MEANINGS, LineProgress, flag_sentences, flag_words, line_disagreements, quantity


def line(ordered: Any, shipped: Any = 0, announced: Any = 0, received: Any = 0, damaged: Any = 0) -> LineProgress:
    whole_order, *moved = (
        None if value is None else Decimal(str(value)) for value in (ordered, shipped, announced, received)
    )
    assert all(value is not None for value in moved)
    return LineProgress(
        line_id="000011",
        sku="002_110_BLUE",
        ordered=whole_order,
        shipped=moved[0] or Decimal(0),
        announced=moved[1] or Decimal(0),
        received=moved[2] or Decimal(0),
        damaged=Decimal(str(damaged)),
        outstanding=None if whole_order is None or moved[2] is None else whole_order - moved[2],
        cartons=0,
        first_shipped_at=None,
        last_received_at=None,
        flags=(),
    )


@pytest.mark.parametrize(
    ("shown", "texts"),
    [
        (line(100), []),
        (line(100, shipped=60), []),
        (line(100, announced=100), []),
        (line(100, shipped=100, announced=100, received=100), []),
        (line(100, shipped=100, received=94), ["6 missing of 100 shipped"]),
        (line(100, announced=100, received=94), ["6 missing of 100 announced"]),
        (line(100, shipped=100, received="94.5"), ["5.5 missing of 100 shipped"]),
        (line(100, shipped=102), ["2 more shipped than ordered"]),
        (line(100, announced=102), ["2 more announced than ordered"]),
        (line(100, shipped=100, received=102), ["2 more received than ordered", "2 never shipped"]),
        (line(100, received=40), ["received before shipped"]),
        (line(100, shipped=30, received=40), ["10 never shipped"]),
        (line(100, shipped=95, announced=100), ["5 fewer shipped than announced"]),
        (line(100, shipped=100, announced=95), ["5 more shipped than announced"]),
        (line(100, shipped=100, received=100, damaged=5), ["5 damaged"]),
        (line(None, shipped=1), ["ordered quantity cannot be read"]),
    ],
)
def test_a_line_says_what_disagrees(shown: LineProgress, texts: list[str]) -> None:
    assert line_disagreements(shown) == texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("100", "100"),
        ("100.00", "100"),
        ("50.50", "50.5"),
        ("1E+3", "1,000"),
        ("-0.5", "-0.5"),
        ("1234567.8", "1,234,567.8"),
        ("0.00", "0"),
        ("0.00000000000000000001", "1.000e-20"),
        ("1." + "3" * 60, "1." + "3" * 20),
        ("1e131071", "1.000e+131071"),
        ("-1e-16383", "-1.000e-16383"),
    ],
)
def test_a_quantity_is_written_as_people_read_it(value: str, text: str) -> None:
    assert quantity(Decimal(value)) == text
    assert quantity(None) == "–"


def test_every_flag_has_words_and_an_unknown_one_is_shown_as_it_is() -> None:
    assert FLAGS.keys() == MEANINGS.keys()
    assert flag_words(["short", "of_a_later_release"]) == ["short", "of a later release"]
    assert flag_sentences(["short", "of_a_later_release"]) == [MEANINGS["short"]]


def test_a_bar_shows_what_arrived_what_is_damaged_and_what_is_on_its_way() -> None:
    shown = bar(Decimal(100), Decimal(80), Decimal(90), Decimal(50), Decimal(5))
    assert [(part.kind, part.x, part.width) for part in shown.parts] == [
        ("received", 0, 45),
        ("damaged", 45, 5),
        ("moved", 50, 40),
    ]
    assert shown.text == "50 of 100 received, 40 on the way, 5 damaged"
    lost = bar(Decimal(100), Decimal(100), Decimal(0), Decimal(50), missing=Decimal(6))
    assert lost.text == "50 of 100 received, 6 missing, 44 on the way"
    assert bar(Decimal(0), Decimal(0), Decimal(0), Decimal(0)).parts == ()
    assert bar(None, Decimal(0), Decimal(0), Decimal(5)).text == "5 of an unknown quantity received"


quantities = st.decimals(-1000, 10**12, places=2) | st.sampled_from([Decimal("1e131071"), Decimal("1e-16383")])


@given(st.none() | quantities, quantities, quantities, quantities, quantities)
def test_a_bar_never_leaves_its_frame(
    ordered: Decimal | None, shipped: Decimal, announced: Decimal, received: Decimal, damaged: Decimal
) -> None:
    end = 0.0
    for part in bar(ordered, shipped, announced, received, damaged).parts:
        assert part.width >= 0
        assert abs(part.x - end) < 0.02
        end = part.x + part.width
    assert end <= progress.WIDTH + 0.05


def test_lines_that_disagree_come_first() -> None:
    views = progress.line_views([line(1), line(100, shipped=100, received=94), line(2)])
    assert [view.line.ordered for view in views] == [100, 1, 2]
