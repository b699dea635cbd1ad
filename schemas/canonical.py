"""When two bodies are the same: a digest that sees what JSON says and not how it is written.

Contract §7: key order and white space don't matter, list order and exact decimals do; bodies that are no JSON are the
same when their bytes are. The literal of a number with a fraction or an exponent counts: 1.10 isn't 1.1.
"""

import hashlib
from decimal import Decimal, InvalidOperation

import msgspec

from schemas import jsontext

DIGEST_BYTES = 16

NUMERIC_DIGITS = 131_072
"""PostgreSQL: `numeric`, and so a number in jsonb, has up to 131,072 digits before the decimal point …"""
NUMERIC_SCALE = 16_383
"""… and up to 16,383 after it."""


class NotJson(ValueError):
    """The body is no JSON; the text says where it stops being it."""


class Form(msgspec.Struct, frozen=True):
    """A body that is JSON."""

    text: bytes
    """What a strict decoder reads: the body itself, or mended where `lossy`."""
    digest: bytes
    """DIGEST_BYTES bytes, equal for bodies that say the same."""
    jsonb: bool = True
    """Whether PostgreSQL takes the body as jsonb."""
    deep: bool = False
    """Nested beyond jsontext.MAX_DEPTH: the text has null there, and the digest is of the bytes."""
    lossy: bool = False
    """The text isn't the body: a key with U+FFFD in it may have been another."""


class _Unusual(Exception):
    """A number that needs a closer look."""


def _literal(number: str) -> msgspec.Raw:
    """A number with a fraction or an exponent, as it was written."""
    if len(number) > 6 and ("e" in number or "E" in number or len(number) > 1000):
        raise _Unusual
    return msgspec.Raw(number.encode())


_decode = msgspec.json.Decoder(float_hook=_literal).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def form(raw: bytes) -> Form:
    """Reads `raw` as JSON. Raises NotJson and nothing else."""
    if jsontext.too_deep(raw):
        return Form(jsontext.shallow(raw), _hash(raw, b"deep"), jsonb=False, deep=True, lossy=True)
    try:
        return Form(raw, _hash(_encode(_decode(raw)), b"json"), jsonb=not jsontext.has_nul(raw))
    except (_Unusual, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _closer(raw)


def digest(raw: bytes) -> bytes:
    """DIGEST_BYTES bytes for any body. Never raises."""
    try:
        return form(raw).digest
    except NotJson:
        return digest_bytes(raw)


def digest_bytes(raw: bytes) -> bytes:
    """The digest of a body that is no JSON; never that of one that is."""
    return _hash(raw, b"bytes")


def _hash(data: bytes, kind: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES, person=kind).digest()


def _closer(raw: bytes) -> Form:
    """The rare cases: odd numbers, lone surrogates, integers beyond Python's, and what is no JSON at all."""
    text = jsontext.mend(raw)
    fits = True

    def literal(number: str) -> msgspec.Raw:
        nonlocal fits
        fits = fits and _fits_numeric(number)
        return msgspec.Raw(number.encode())

    try:
        said = _encode(msgspec.json.Decoder(float_hook=literal).decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(explain(error)) from None
    mended = text != raw
    return Form(
        text,
        _hash(said, b"mended" if mended else b"json"),
        jsonb=fits and not mended and not jsontext.has_nul(raw),
        lossy=mended,
    )


def _fits_numeric(number: str) -> bool:
    try:
        exact = Decimal(number)
    except InvalidOperation:  # an exponent that even Decimal has no room for
        return False
    exponent = exact.as_tuple().exponent
    # adjusted() of a zero says nothing about its size, so both ends are looked at.
    return isinstance(exponent, int) and -exponent <= NUMERIC_SCALE and max(exact.adjusted(), exponent) < NUMERIC_DIGITS


def explain(error: Exception) -> str:
    """What is wrong with a text that msgspec didn't read, without quoting any of it."""
    if isinstance(error, UnicodeDecodeError):
        return "the text is not valid UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return str(error)
