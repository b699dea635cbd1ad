"""Patterns: which names fit, and how many searches a pattern costs."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.patterns import fits
from tests.support.calls import count_calls


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("*", "channelape.receipt", True),
        ("channelape.*", "channelape.receipt", True),
        ("channelape.*", "channelape", False),
        ("*.receipt", "channelape.receipt", True),
        ("channelape.receipt", "channelape.receipt", True),
        ("channelape.receipt", "channelape.receipts", False),
        ("c*e.*t", "channelape.receipt", True),
        ("a*a", "a", False),
        ("a**b", "ab", True),
        ("ecomnow/*", "ecomnow/shop", True),
        ("channelape.r[e]*", "channelape.receipt", False),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_a_pattern_matches_or_does_not(pattern: str, name: str, does: bool) -> None:
    assert fits(name, [pattern]) is does


def test_one_matching_pattern_is_enough() -> None:
    assert fits("a.b", ["c.*", "a.*"])
    assert not fits("a.b", [])


@given(pattern=st.text("ab*.\n", max_size=10), name=st.text("ab.\n", max_size=10))
@example(pattern="a*ba", name="aba")
def test_patterns_match_as_the_equivalent_regular_expression(pattern: str, name: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL)
    assert fits(name, [pattern]) is (expected is not None)


@pytest.mark.parametrize("pattern", ["*a" * 100 + "b", "*a" * 300 + "*", "*aaaaaaaaab" * 20 + "*"])
def test_no_pattern_takes_more_than_one_search_per_star(pattern: str) -> None:
    """A regular expression took 12 s for ten stars, because it goes back and tries each star again."""
    name = "a" * 200
    assert not fits(name, [pattern])
    assert count_calls(lambda: fits(name, [pattern]))["str.find"] <= pattern.count("*")
