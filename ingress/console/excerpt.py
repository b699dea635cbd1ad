"""A part of a body that may be anything: as text if it is text, otherwise as hexadecimal digits. Pure."""

import msgspec

MOST_SHOWN = 64 * 1024
"""Maximum bytes of a body that a page shows."""
_COLUMNS = 16
"""Bytes per line of hexadecimal digits."""


class Excerpt(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a body, in three pieces of which the middle one is marked."""

    before: str
    marked: str
    """What stands at the offset that is marked; empty if nothing is."""
    behind: str
    is_text: bool
    start: int
    """The first byte that is shown."""
    end: int
    """The byte behind the last one that is shown."""
    size: int
    """Bytes of the whole body."""

    @property
    def is_whole(self) -> bool:
        """Whether the whole body is shown."""
        return self.start == 0 and self.end == self.size


def excerpt(raw: bytes, *, start: int, size: int, offset: int | None) -> Excerpt:
    """Return the bytes of a body from `start` on, with the byte at `offset` of the body marked."""
    place = None if offset is None or not start <= offset <= start + len(raw) else offset - start
    is_text = _is_text(raw)
    if is_text:
        before, marked, behind = _split(raw, place)
        pieces = tuple(map(_text, (before, marked, behind)))
        if place is not None and not pieces[1]:
            pieces = (pieces[0], "⟨end⟩", "")
    else:
        pieces = _hex(raw, start, place)
    return Excerpt(
        before=pieces[0],
        marked=pieces[1],
        behind=pieces[2],
        is_text=is_text,
        start=start,
        end=start + len(raw),
        size=size,
    )


def printable(text: str) -> str:
    """Return the text with everything written out that a browser would not show, or would obey."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text
    )


def _is_text(raw: bytes) -> bool:
    """Return whether the bytes are UTF-8, but for a character that the excerpt has cut at either end."""
    if b"\0" in raw:
        return False
    for skipped in range(4):
        try:
            raw[skipped:].decode()
        except UnicodeDecodeError as error:
            if len(raw) - error.start < 4 and error.reason == "unexpected end of data":
                return True
            if error.start > 0:
                return False
        else:
            return True
    return False


def _split(raw: bytes, place: int | None) -> tuple[bytes, bytes, bytes]:
    """Return what is before, at and behind a place, which is moved to the start of its character."""
    if place is None:
        return raw, b"", b""
    first = place
    while 0 < first < len(raw) and raw[first] & 0xC0 == 0x80:
        first -= 1
    behind = first + 1
    while behind < len(raw) and raw[behind] & 0xC0 == 0x80:
        behind += 1
    return raw[:first], raw[first:behind], raw[behind:]


def _text(raw: bytes) -> str:
    return printable(raw.decode("utf-8", "replace").replace("\r\n", "\n"))


def _hex(raw: bytes, start: int, place: int | None) -> tuple[str, str, str]:
    """Return lines of an offset, sixteen bytes, and their ASCII; the line with the place is the middle piece."""
    lines = []
    for first in range(0, len(raw), _COLUMNS):
        row = raw[first : first + _COLUMNS]
        ascii_ = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start + first:08x}  {row.hex(' '):<{_COLUMNS * 3 - 1}}  {ascii_}\n")
    if place is None:
        return "".join(lines), "", ""
    line = min(place // _COLUMNS, len(lines))
    return "".join(lines[:line]), "".join(lines[line : line + 1]), "".join(lines[line + 1 :])
