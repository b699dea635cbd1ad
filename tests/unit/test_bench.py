"""What the benchmarks print, and that their peers are programs."""

import py_compile
from pathlib import Path

import pytest

from bench.__main__ import report
from bench.common import Row

PEERS = sorted((Path(__file__).parents[2] / "bench" / "peers").glob("*.py"))


def test_a_ratio_is_the_median_of_the_pairs() -> None:
    assert Row("a", "b", [1.0, 100.0, 4.0], [2.0, 2.0, 4.0], 0.5).ratio == 1.0


def test_the_table_shows_medians_spread_and_goal() -> None:
    text = report([Row("a", "b", [1000.0, 3000.0, 2000.0], [500.0, 500.0, 500.0], 4.0)])
    assert text.splitlines()[2] == "| a | b | 2,000 (1,000–3,000) | 500 (500–500) | 4.00 | ≥ 4.0 |"


@pytest.mark.parametrize("peer", PEERS, ids=lambda path: path.stem)
def test_every_peer_compiles(peer: Path, tmp_path: Path) -> None:
    assert py_compile.compile(str(peer), cfile=str(tmp_path / "x.pyc"), doraise=True)
