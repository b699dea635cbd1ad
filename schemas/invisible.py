"""Characters that are not seen and that nobody types, at the ends of identifiers, cells and URLs. Pure.

Spreadsheets, web pages and chat programs add them when a text is copied, and Python's `strip` does not remove them.
Records of a fixed length are padded with U+0000, and terminals and scanners leave other ASCII controls.
"""

import re
from unicodedata import category

_OTHERS = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")
"""Variation selectors, fillers and others that Unicode calls ignorable, and which are not of its category Cf."""


def is_invisible(character: str) -> bool:
    """Return whether a character is never seen: Unicode's category Cf, variation selectors and fillers."""
    return not character.isascii() and (category(character) == "Cf" or _OTHERS.match(character) is not None)


def trimmed(text: str) -> str:
    """Return `text` without white space, ASCII controls and invisible characters at its ends."""
    text = text.strip()
    if text.isascii() and text.isprintable():
        return text
    first, last = 0, len(text)
    while first < last and _is_blank(text[first]):
        first += 1
    while last > first and _is_blank(text[last - 1]):
        last -= 1
    return text[first:last]


def _is_blank(character: str) -> bool:
    if character.isascii():
        return character == " " or not character.isprintable()
    return character.isspace() or is_invisible(character)


def first_invisible(text: str) -> str | None:
    """Return the first invisible character of `text` as `U+200E`, or None."""
    if text.isascii():
        return None
    return next((f"U+{ord(character):04X}" for character in text if is_invisible(character)), None)
