"""JSON as bytes: tokenising, and the few repairs with which a strict decoder accepts texts that it otherwise rejects.

Every function takes time linear in the length of the text, for any text: strings are matched by possessive patterns,
which also match an unterminated string.
"""

import re

STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
"""A pattern for one string with its quotes; an unterminated one extends to the end of the text (requires DOTALL)."""

MAX_DEPTH = 400
"""Maximum levels of nesting that are parsed; real documents have fewer than ten.

msgspec fails slightly below Python's recursion limit of 1,000, at a depth that depends on the caller. With a limit of
our own, the same bytes are always parsed the same way.
"""
MAX_DIGITS = 4300
"""Maximum digits of a text that Python converts to an integer (`sys.int_info.default_max_str_digits`)."""

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
    """Return whether arrays and objects are nested deeper than MAX_DEPTH.

    This is nearly free for a text with at most MAX_DEPTH opening brackets.
    """
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    if b"\\" not in raw:
        # This reduces strings to their quotes at C speed. Two adjacent quotes are then a whole string, or the end of
        # one string and the start of the next.
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


def truncate_depth(raw: bytes) -> bytes:
    """Return `raw` with `null` in place of everything that is nested deeper than MAX_DEPTH."""
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


def repair(raw: bytes) -> bytes:
    r"""Replace the two constructs of valid JSON in `raw` that have no value in Python.

    A lone surrogate becomes U+FFFD followed by its hexadecimal code (`\ud83d` becomes U+FFFD and `d83d`); an integer of
    more than MAX_DIGITS digits becomes a string.
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
        return digits  # a number as a key is invalid JSON, and must not become valid by being quoted
    return b'"' + digits + b'"'


def valid_unicode(raw: bytes) -> bytes:
    r"""Return the JSON with U+FFFD for every lone surrogate (`\ud83d`), which strict parsers reject."""
    return _ESCAPES.sub(lambda m: rb"\ufffd" if m[1] else m[0], raw) if b"\\u" in raw else raw


def is_plain(raw: bytes) -> bool:
    """Return whether a strict JSON parser accepts the characters of `raw`.

    They must be UTF-8 without a byte order mark, NUL bytes or lone surrogates.
    """
    try:
        if not raw.isascii() and raw.decode().startswith("\ufeff"):
            return False
    except UnicodeDecodeError:
        return False
    return valid_unicode(raw) == raw and b"\0" not in raw


def mend_bytes(raw: bytes) -> bytes:
    """Return `raw` as UTF-8 without a byte order mark.

    Bytes that are not UTF-8, and control characters in strings, are replaced by U+FFFD.
    """
    text = raw.decode("utf-8-sig", errors="replace").encode()
    return _STRINGS.sub(lambda m: _CONTROLS.sub(b"\xef\xbf\xbd", m[0]), text)


def has_nul(raw: bytes) -> bool:
    r"""Return whether any string in valid JSON contains U+0000, which PostgreSQL cannot store.

    An escaped backslash before `u0000`, as in `\\u0000`, does not count.
    """
    return b"\\" in raw and b"\\u0000" in raw and _NUL.search(raw) is not None
