"""Parts of bodies as the console shows them: text or hexadecimal digits, with one place marked."""

from hypothesis import given
from hypothesis import strategies as st

from ingress.console.excerpt import excerpt


def pieces(raw: bytes, offset: int | None, *, start: int = 0) -> tuple[str, str, str]:
    part = excerpt(raw, start=start, size=start + len(raw), offset=offset)
    return part.before, part.marked, part.behind


def test_the_character_at_the_offset_is_marked() -> None:
    assert pieces(b'{"a":1}x', 7) == ('{"a":1}', "x", "")
    assert pieces("a€b".encode(), 2) == ("a", "€", "b")
    assert pieces(b"abc", 11, start=10) == ("a", "b", "c")
    assert pieces(b"abc", None) == ("abc", "", "")
    assert pieces(b"abc", 3) == ("abc", "⟨end⟩", "")
    assert pieces(b"abc", 99) == ("abc", "", "")


def test_what_a_browser_would_obey_is_written_out() -> None:
    assert pieces("a\u202eb\x1bc\r\nd".encode(), None)[0] == "a\\u202eb\\x1bc\nd"


def test_what_is_not_text_is_shown_as_digits() -> None:
    raw = bytes(range(40))
    before, marked, behind = pieces(raw, 20)
    assert before.startswith("00000000  00 01 02")
    assert marked.startswith("00000010  10 11 12")
    assert behind.startswith("00000020  20 21 22")
    assert behind.endswith(" !\"#$%&'\n")
    assert not excerpt(b"caf\xe9 cafe", start=0, size=9, offset=None).is_text


def test_a_character_that_was_cut_does_not_make_it_binary() -> None:
    raw = "€uro €".encode()
    assert excerpt(raw[1:], start=1, size=len(raw), offset=None).is_text
    assert excerpt(raw[:-1], start=0, size=len(raw), offset=None).is_text


@given(st.binary(max_size=200), st.integers(0, 210), st.integers(0, 5))
def test_any_bytes_can_be_shown(raw: bytes, offset: int, start: int) -> None:
    part = excerpt(raw, start=start, size=start + len(raw), offset=offset)
    text = part.before + part.marked + part.behind
    assert all(char.isprintable() or char in "\n\t" for char in text)
    assert part.is_whole == (start == 0)
