"""Patterns: what fits, and that none takes long."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.patterns import fits


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
def test_what_fits(pattern: str, name: str, does: bool) -> None:
    assert fits(name, [pattern]) is does


def test_any_of_them_is_enough() -> None:
    assert fits("a.b", ["c.*", "a.*"])
    assert not fits("a.b", [])


@given(pattern=st.text("ab*.\n", max_size=10), name=st.text("ab.\n", max_size=10))
@example(pattern="a*ba", name="aba")
def test_as_a_regular_expression_would_say(pattern: str, name: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL)
    assert fits(name, [pattern]) is (expected is not None)


def test_no_pattern_takes_long() -> None:
    """A regex took 12 s for ten stars."""
    began = time.perf_counter()
    assert not fits("a" * 200, ["*a" * 100 + "b"])
    assert not fits("a" * 200, ["*aaaaaaaaab" * 20 + "*"])
    assert time.perf_counter() - began < 0.1
