"""Bodies in other encodings than plain UTF-8, as UTF-8.

JSON between systems is UTF-8 without a byte order mark (RFC 8259 §8.1). Real senders add the mark (.NET writers), send
UTF-16 (RFC 4627 allowed it), or name another charset in `Content-Type`. Signatures are checked over the bytes as they
came, and these bytes are what is kept; this module only says what they mean.
"""

import codecs
import re
from collections.abc import Iterable

BYTE_ORDER_MARK = "byte_order_mark"
"""Flag: UTF-8 behind a byte order mark, which is left out of what is read and passed on."""
TRANSCODED = "transcoded"
"""Flag: another encoding than UTF-8, by its byte order mark, its NUL bytes or the charset of its Content-Type."""

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_UTF8_MARKS = re.compile(b"(?:" + codecs.BOM_UTF8 + b")++")
"""Two writers in a row add two."""
_CHARSET = re.compile(r""";\s*+charset\s*+=\s*+["']?([A-Za-z0-9._:+-]{1,40})""", re.IGNORECASE)

_CHARSETS = frozenset(
    {
        *(f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)),
        *(f"cp{page}" for page in (437, 850, 852, 855, 858, 866, 874, 932, 949, 950, *range(1250, 1259))),
        *("ascii", "koi8-r", "koi8-u", "mac-roman", "tis-620"),
        *("shift_jis", "euc_jp", "iso2022_jp", "euc_kr", "gb2312", "gbk", "gb18030", "big5", "big5hkscs"),
        *("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"),
    }
)
"""Python's own names. Listed, because some of its codecs are no charsets, and some take quadratic time."""
_LATIN_1 = frozenset({"iso8859-1", "ascii"})
_ALIASES = {"windows-31j": "cp932", "windows-874": "cp874", "shift_jis": "cp932", "shift-jis": "cp932"}
"""Names that Python doesn't know, or takes more narrowly than those who use them."""


_NO_CODING = re.compile(
    r"|identity|none|null|binary|[78]-?bit"
    r"|utf-?(?:8|16|32)(?:le|be)?|us-ascii|ascii|latin-?1|iso-?8859-?\d+|(?:windows|cp)-?125\d",
    re.IGNORECASE,
)
"""What senders write into `Content-Encoding` that is not a coding: words for none, values of MIME's
Content-Transfer-Encoding that leave a body as it is, and charsets, which belong into Content-Type."""


def is_encoded(values: Iterable[str]) -> bool:
    """Return whether `Content-Encoding` says that the body was compressed, or packed in any other way."""
    return any(not _NO_CODING.fullmatch(name.strip()) for value in values for name in value.split(","))


def by_mark(raw: bytes) -> tuple[bytes, str | None]:
    """Return `raw` as UTF-8 without a byte order mark, and the flag for what was done; None if nothing was."""
    marks = _UTF8_MARKS.match(raw)
    if marks is not None:
        return raw[marks.end() :], BYTE_ORDER_MARK
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return _recoded(raw[len(mark) :], encoding, raw)
    # JSON begins with an ASCII character, and UTF-8 JSON holds no NUL: where they are tells the encoding (RFC 4627 §3).
    if len(raw) >= 4 and (raw[0] == 0 or raw[1] == 0):
        if raw[0]:
            return _recoded(raw, "utf-16-le" if raw[2] or raw[3] else "utf-32-le", raw)
        return _recoded(raw, "utf-16-be" if raw[1] else "utf-32-be", raw)
    return raw, None


def by_header(raw: bytes, content_type: str | None) -> bytes | None:
    """Return `raw` as UTF-8, decoded by the charset of `content_type`; None if it names none that helps.

    What is valid UTF-8 is UTF-8, whatever the header says: frameworks announce ISO-8859-1 by default.
    """
    found = None if not content_type else _CHARSET.search(content_type)
    if found is None or (_is_utf8(raw) and b"\x1b" not in raw):  # ISO-2022-JP is ASCII with escapes
        return None
    try:
        name = codecs.lookup(_ALIASES.get(found[1].lower(), found[1])).name
        if name not in _CHARSETS:
            return None
        # As the WHATWG's Encoding standard does: who says ISO-8859-1 means Windows-1252, which has the euro sign.
        return raw.decode("cp1252" if name in _LATIN_1 else name).encode()
    except LookupError:
        return None
    except UnicodeError:
        return raw.decode("latin-1").encode() if name in _LATIN_1 else None


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _recoded(content: bytes, encoding: str, raw: bytes) -> tuple[bytes, str | None]:
    try:
        return content.decode(encoding).encode(), TRANSCODED
    except UnicodeError:
        # A lone surrogate, or cut short in the middle of a character: U+FFFD stands for it, as in UTF-8.
        text = content.decode(encoding, "replace").encode()
        return (text, TRANSCODED) if text.lstrip()[:1] in (b"{", b"[") else (raw, None)
