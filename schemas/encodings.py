"""Conversion of bodies in encodings other than plain UTF-8 to UTF-8.

JSON between systems is UTF-8 without a byte order mark (RFC 8259 §8.1). Real senders add the mark (.NET writers), send
UTF-16 (RFC 4627 allowed it), or name another charset in `Content-Type`. Signatures are checked over the bytes as
received, and those bytes are stored; this module only decodes them.
"""

import codecs
import re
from collections.abc import Iterable

BYTE_ORDER_MARK = "byte_order_mark"
"""Flag: UTF-8 with a byte order mark, which is removed before the body is parsed and sent on."""
TRANSCODED = "transcoded"
"""Flag: not UTF-8, as shown by a byte order mark, by NUL bytes or by the charset of the Content-Type."""

# UTF-32 comes first because its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_UTF8_MARKS = re.compile(rb"[ \t\r\n]*+(?:" + codecs.BOM_UTF8 + rb"[ \t\r\n]*+)++")
"""Matches several marks, because two writers in a chain may each add one.

Blank lines may come before them, from a script that begins with some (PHP).
"""
_BLANKS = re.compile(rb"[ \t\r\n]*+")
_BLANKS_AND_MARKS = re.compile("[ \\t\\r\\n]*+(?:\ufeff[ \\t\\r\\n]*+)++")
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
"""Permitted charsets by Python's canonical names.

This is an explicit list because some of Python's codecs are not charsets, and some take quadratic time.
"""
_LATIN_1 = frozenset({"iso8859-1", "ascii"})
_ALIASES = {"windows-31j": "cp932", "windows-874": "cp874", "shift_jis": "cp932", "shift-jis": "cp932"}
"""Charset names that Python does not know, or interprets more narrowly than their senders do."""


_CODING = re.compile(
    r"gzip|deflate|compress|zip|zlib|zstd|zstandard|brotli|snappy|lz4|lzma|lzo|pack200|base64|quoted-printable|uuencode"
    r"|crypt|\A(?:x-)?(?:br|bz2|dcb|dcz|exi|xz|aws-chunked|aes128gcm)\Z",
    re.IGNORECASE,
)
"""Codings of `Content-Encoding` (IANA, and those in use besides), and what the names of others are made of."""
_NO_CODING = re.compile(
    r"|identity|none|null|binary|[78]-?bit|json|text|plain|chunked|.*[/=:].*"
    r"|utf[-_]?(?:7|8|16|32)[-_]?(?:le|be|mb[34]|bom|sig)?|us-ascii|ascii|ansi|unicode|latin[-_]?1"
    r"|iso[-_]?8859[-_]?\d+|(?:windows|cp)[-_]?125\d",
    re.IGNORECASE,
)
"""What senders write into `Content-Encoding` that is not a coding: words for none, values of MIME's
Content-Transfer-Encoding that leave a body as it is, charsets and media types, which belong into Content-Type, and
parameters."""


def is_encoded(values: Iterable[str]) -> bool:
    """Return whether `Content-Encoding` says that the body was compressed, or packed in any other way."""
    return any(_CODING.search(name) for name in _names(values))


def is_unreadable(values: Iterable[str], raw: bytes) -> bool:
    """Return whether `Content-Encoding` has a name that may be a coding, and `raw` is not the JSON that we expect.

    A coding that is not known cannot be told from a mistaken name, except by what it did to the body.
    """
    if all(_NO_CODING.fullmatch(name) for name in _names(values)):
        return False
    text, _ = by_mark(raw)
    return text.lstrip(b" \t\r\n")[:1] not in (b"", b"{", b"[")


def _names(values: Iterable[str]) -> Iterable[str]:
    return (name.strip(" \t\"'") for value in values for name in re.split("[,;]", value))


def by_mark(raw: bytes) -> tuple[bytes, str | None]:
    """Return `raw` as UTF-8 without a byte order mark, and the flag for what was changed, or None if nothing was.

    The encoding is determined by the byte order mark or by the position of NUL bytes.
    """
    marks = _UTF8_MARKS.match(raw)
    if marks is not None:
        return raw[marks.end() :], BYTE_ORDER_MARK
    blanks = _BLANKS.match(raw)
    first = 0 if blanks is None else blanks.end()
    for mark, encoding in _MARKS:
        if raw.startswith(mark, first):
            return _recoded(raw[first + len(mark) :], encoding, raw)
    # JSON begins with an ASCII character, and JSON in UTF-8 contains no NUL, so the positions of NUL bytes determine
    # the encoding (RFC 4627 §3).
    if len(raw) >= 4 and (raw[0] == 0 or raw[1] == 0):
        if raw[0]:
            return _recoded(raw, "utf-16-le" if raw[2] or raw[3] else "utf-32-le", raw)
        return _recoded(raw, "utf-16-be" if raw[1] else "utf-32-be", raw)
    return raw, None


def by_header(raw: bytes, content_type: str | None) -> bytes | None:
    """Return `raw` as UTF-8, decoded by the charset of `content_type`; None if there is no usable charset.

    Valid UTF-8 is treated as UTF-8 regardless of the header, because frameworks declare ISO-8859-1 by default.
    """
    match = None if not content_type else _CHARSET.search(content_type)
    if match is None or (_is_utf8(raw) and b"\x1b" not in raw):  # ISO-2022-JP is ASCII with escape sequences
        return None
    try:
        name = codecs.lookup(_ALIASES.get(match[1].lower(), match[1])).name
        if name not in _CHARSETS:
            return None
        # As in the WHATWG Encoding standard: ISO-8859-1 is decoded as Windows-1252, which has the euro sign.
        return raw.decode("cp1252" if name in _LATIN_1 else name).encode()
    except LookupError:
        return None
    except UnicodeError:
        return raw.decode("latin-1").encode() if name in _LATIN_1 else None


def to_utf8(raw: bytes, content_type: str | None) -> bytes:
    """Return `raw` as UTF-8: by its byte order mark or its NUL bytes, else by the charset of `content_type`.

    What cannot be decoded is returned as it is.
    """
    text, flag = by_mark(raw)
    decoded = by_header(raw, content_type) if flag is None else None
    return text if decoded is None else decoded


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _recoded(content: bytes, encoding: str, raw: bytes) -> tuple[bytes, str | None]:
    try:
        return _without_marks(content.decode(encoding)).encode(), TRANSCODED
    except UnicodeError:
        # A lone surrogate or an incomplete last character is replaced by U+FFFD, as it is in UTF-8.
        text = _without_marks(content.decode(encoding, "replace")).encode()
        return (text, TRANSCODED) if text.lstrip()[:1] in (b"{", b"[") else (raw, None)


def _without_marks(text: str) -> str:
    marks = _BLANKS_AND_MARKS.match(text)
    return text if marks is None else text[marks.end() :]
