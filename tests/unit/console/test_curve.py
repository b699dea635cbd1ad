"""The picture of numbers over time, and the files that the console serves unchanged."""

import hashlib
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ingress.console import render
from ingress.console.curve import HEIGHT, Curve, curve

HTMX = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
STATIC = Path(render.__file__).parent / "static"


def heights(picture: Curve) -> list[int]:
    """Read the height of each number from the path."""
    result: list[int] = []
    y = HEIGHT
    for command, number in re.findall(r"([HV])(\d+)", picture.path.removeprefix(f"M0 {HEIGHT}")):
        if command == "H":
            result += [HEIGHT - y] * (int(number) - len(result))
        else:
            y = int(number)
    return result


def test_a_picture_has_a_step_per_number() -> None:
    picture = curve([0, 10, 10, 5, 0, 1])
    assert picture.path == f"M0 20H1V0H3V10H4V20H5V18H6V{HEIGHT}Z"
    assert (picture.width, picture.total, picture.peak) == (6, 26, 10)


def test_nothing_has_no_picture() -> None:
    assert curve([0, 0]) == Curve(2, "", 0, 0)
    assert curve([]).path == ""


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=90).filter(any))
def test_every_number_has_its_height(numbers: list[int]) -> None:
    drawn = heights(curve(numbers))
    assert len(drawn) == len(numbers)
    for number, height in zip(numbers, drawn, strict=True):
        assert (height > 0) == (number > 0), "what is not nothing can be seen"
        assert abs(height - number * HEIGHT / max(numbers)) <= 1
    assert max(drawn) == HEIGHT


def test_htmx_is_the_file_of_its_release() -> None:
    """Version 4.0.1, unchanged. A new release is a new file, its licence, and the hash here."""
    assert hashlib.sha256((STATIC / "htmx.min.js").read_bytes()).hexdigest() == HTMX
    assert "Zero-Clause BSD" in (STATIC / "htmx.LICENSE").read_text()


def test_our_own_script_stays_small() -> None:
    lines = (STATIC / "console.js").read_text().splitlines()
    assert len(lines) <= 250
    assert max(map(len, lines)) <= 120


def test_a_licence_is_not_served() -> None:
    assert {"console.css", "console.js", "htmx.min.js", "icon.svg"} <= render.assets().keys()
    assert "htmx.LICENSE" not in render.assets()
