"""Equality of bodies: a digest of the meaning of a JSON text, independent of its formatting.

Contract §7: key order and white space do not matter, list order and exact decimals do; bodies that are not JSON are
equal if their bytes are. The literal of a number with a fraction or an exponent counts: 1.10 is not equal to 1.1.
"""

import hashlib
from decimal import Decimal, InvalidOperation

import msgspec

from schemas import jsontext, malformed

DIGEST_BYTES = 16

NUMERIC_DIGITS = 131_072
"""PostgreSQL: a `numeric`, and therefore a number in jsonb, has at most 131,072 digits before the decimal point."""
NUMERIC_SCALE = 16_383
"""PostgreSQL: a `numeric` has at most 16,383 digits after the decimal point."""


class NotJSONError(ValueError):
    """Raised for a body that is not JSON; the text gives the error and its position."""


class CanonicalForm(msgspec.Struct, frozen=True, gc=False):
    """A body that is JSON, in the forms in which it is parsed, compared and stored."""

    text: bytes
    """The text for a strict decoder: the body itself, or its repaired copy if `lossy`."""
    digest: bytes
    """DIGEST_BYTES bytes, equal for bodies with the same JSON value."""
    jsonb: bool = True
    """Whether PostgreSQL accepts the body as jsonb."""
    deep: bool = False
    """Whether it is nested deeper than jsontext.MAX_DEPTH. The text then has null there; the digest is of the bytes."""
    lossy: bool = False
    """Whether the text differs from the body. A business key with U+FFFD in it may then have been another key."""


class _UnusualError(Exception):
    """Raised for a number that only the slow path in `_form_of_unusual` handles."""


def _literal(number: str) -> msgspec.Raw:
    """Return a number with a fraction or an exponent as it was written."""
    if len(number) > 6 and ("e" in number or "E" in number or len(number) > 1000):
        raise _UnusualError
    return msgspec.Raw(number.encode())


_decode = msgspec.json.Decoder(float_hook=_literal).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def form(raw: bytes) -> CanonicalForm:
    """Parse `raw` as JSON. Raises NotJSONError and no other exception."""
    if jsontext.too_deep(raw):
        return CanonicalForm(jsontext.truncate_depth(raw), _hash(raw, b"deep"), jsonb=False, deep=True, lossy=True)
    try:
        return CanonicalForm(raw, _hash(_encode(_decode(raw)), b"json"), jsonb=not jsontext.has_nul(raw))
    except (_UnusualError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _form_of_unusual(raw)


def digest(raw: bytes) -> bytes:
    """Return the digest of any body, DIGEST_BYTES bytes. Never raises."""
    try:
        return form(raw).digest
    except NotJSONError:
        return digest_bytes(raw)


def digest_bytes(raw: bytes) -> bytes:
    """Return the digest of a body that is not JSON; it never equals the digest of a JSON body."""
    return _hash(raw, b"bytes")


def _hash(data: bytes, kind: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES, person=kind).digest()


def _form_of_unusual(raw: bytes) -> CanonicalForm:
    """Handle the rare cases: extreme numbers, lone surrogates, integers too long for Python, and invalid JSON."""
    text = jsontext.repair(raw)
    fits = True

    def literal(number: str) -> msgspec.Raw:
        nonlocal fits
        fits = fits and _fits_numeric(number)
        return msgspec.Raw(number.encode())

    try:
        encoded = _encode(msgspec.json.Decoder(float_hook=literal).decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJSONError(malformed.explain(error, text)) from None
    mended = text != raw
    return CanonicalForm(
        text,
        _hash(encoded, b"mended" if mended else b"json"),
        jsonb=fits and not mended and not jsontext.has_nul(raw),
        lossy=mended,
    )


def _fits_numeric(number: str) -> bool:
    try:
        exact = Decimal(number)
    except InvalidOperation:  # the exponent exceeds even Decimal's range
        return False
    exponent = exact.as_tuple().exponent
    # adjusted() of a zero does not reflect its exponent, so both are checked.
    return isinstance(exponent, int) and -exponent <= NUMERIC_SCALE and max(exact.adjusted(), exponent) < NUMERIC_DIGITS
