"""JSON as bytes: what stands where, and the few repairs that let a strict decoder read what it refuses.

Everything here is linear in the length of the text, whatever the text is: strings are matched by possessive patterns
that also take a string without an end.
"""

import re

STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
"""A pattern for one string with its quotes; one that never ends reaches to the end of the text (needs DOTALL)."""

MAX_DEPTH = 400
"""Levels of nesting that we read. Real documents have under ten; msgspec gives up a little under Python's recursion
limit of 1,000, at a depth that depends on the caller, and the same bytes must always be read the same way."""
MAX_DIGITS = 4300
"""Digits of an integer that Python turns into a number (`sys.int_info.default_max_str_digits`)."""

_OPEN, _CLOSE = frozenset(b"[{"), frozenset(b"]}")
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"\\'))
_CONTROLS = re.compile(rb"[\x00-\x1f]")
_STRINGS = re.compile(STRING, re.DOTALL)
_STRUCTURE = re.compile(STRING + rb"|[\[\]{}]", re.DOTALL)
_NUMBERS = re.compile(STRING + rb"|-?[0-9][0-9.eE+-]*+", re.DOTALL)
_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_COLON = re.compile(rb"[ \t\r\n]*+:")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")


def too_deep(raw: bytes) -> bool:
    """Whether arrays and objects are nested deeper than MAX_DEPTH. Nearly free for a text with fewer brackets."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    if b"\\" not in raw:
        # Strings shrink to their quotes at C speed; two quotes side by side are a whole string or the seam of two.
        raw = raw.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    level = 0
    for byte in _STRINGS.sub(b"", raw).translate(None, _NOT_STRUCTURE):
        if byte in _OPEN:
            level += 1
            if level > MAX_DEPTH:
                return True
        elif byte in _CLOSE:
            level -= 1
    return False


def shallow(raw: bytes) -> bytes:
    """`raw` with `null` for everything nested deeper than MAX_DEPTH."""
    kept: list[bytes] = []
    level = copied = 0
    for token in _STRUCTURE.finditer(raw):
        byte = raw[token.start()]
        if byte in _OPEN:
            level += 1
            if level == MAX_DEPTH + 1:
                kept += (raw[copied : token.start()], b"null")
        elif byte in _CLOSE:
            if level == MAX_DEPTH + 1:
                copied = token.end()
            level -= 1
    if level <= MAX_DEPTH:
        kept.append(raw[copied:])
    return b"".join(kept)


def mend(raw: bytes) -> bytes:
    r"""`raw`, if it is JSON, without the two things in valid JSON that Python has no value for.

    Lone surrogates become U+FFFD and their code in letters (`\ud83d`: U+FFFD, `d83d`); integers of more than MAX_DIGITS
    digits become text.
    """
    if b"\\" in raw:
        raw = _ESCAPES.sub(lambda m: rb"\ufffd" + m[1].lower() if m[1] else m[0], raw)
    if len(raw) > MAX_DIGITS:
        raw = _NUMBERS.sub(_quoted, raw)
    return raw


def _quoted(token: re.Match[bytes]) -> bytes:
    digits = token[0]
    if len(digits) <= MAX_DIGITS or not digits.removeprefix(b"-").isdigit():
        return digits
    if _COLON.match(token.string, token.end()):
        return digits  # a number for a key is no JSON, and text would make it some
    return b'"' + digits + b'"'


def valid_unicode(raw: bytes) -> bytes:
    r"""Return JSON with U+FFFD for every lone surrogate (`\ud83d`), which strict readers refuse."""
    return _ESCAPES.sub(lambda m: rb"\ufffd" if m[1] else m[0], raw) if b"\\u" in raw else raw


def is_plain(raw: bytes) -> bool:
    """Whether a strict reader of JSON has nothing to say against the characters: UTF-8, no byte order mark, and no
    lone surrogate."""
    try:
        if not raw.isascii() and raw.decode().startswith("\ufeff"):
            return False
    except UnicodeDecodeError:
        return False
    return valid_unicode(raw) == raw and b"\0" not in raw


def mend_bytes(raw: bytes) -> bytes:
    """`raw` as UTF-8 without a byte order mark, U+FFFD for what is no UTF-8 and for control characters in strings."""
    text = raw.decode("utf-8-sig", errors="replace").encode()
    return _STRINGS.sub(lambda m: _CONTROLS.sub(b"\xef\xbf\xbd", m[0]), text)


def has_nul(raw: bytes) -> bool:
    r"""Whether some string of valid JSON holds U+0000, which PostgreSQL can't store. `\\u0000` is none."""
    return b"\\" in raw and b"\\u0000" in raw and _NUL.search(raw) is not None
