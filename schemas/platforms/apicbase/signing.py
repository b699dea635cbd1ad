"""Apicbase signs with HMAC-SHA256 in hexadecimal, over `json.dumps(data)` as Python writes it.

A sender that posts with the same serialiser signs the very bytes it sends, so these are tried first. Only if they
don't fit, the body is read and dumped again: that changes `é`, `1.10`, `1e2` and duplicate keys, so it is no more than
a second chance for a sender that signs one rendering and posts another.
"""

import hmac
import json
from collections.abc import Mapping, Sequence

from schemas.platform import Query, Signed
from schemas.platforms.apicbase.config import Account

HEADER = "X-APIC-WEBHOOK-SIGNATURE"
MAX_DUMPED = 64 * 1024
"""Bytes of the largest body that is read and dumped again. Anybody can make us do that, and a megabyte of short numbers
takes 0.3 s, during which nobody else is answered; a purchase order has a few kilobytes. Larger ones are accepted when
their own bytes are signed."""
_HEX = frozenset(b"0123456789abcdef")


def verify(raw: bytes, headers: Mapping[str, str], query: Query, account: Account, /) -> str | None:
    """The secret that fitted, or None. Hexadecimal in either case; never raises."""
    signature = headers.get(HEADER, "").encode("utf-8", "surrogatepass").lower()
    # Reading and dumping again costs far more than hashing: not for what can't be a signature at all.
    if len(signature) != 64 or not _HEX.issuperset(signature):
        return None
    return _fitting(raw, signature, account.secrets) or _fitting(_dumped(raw), signature, account.secrets)


def sign(raw: bytes, account: Account, /) -> Signed:
    """What Apicbase would send with these bytes. Without a secret nothing fits."""
    return Signed(headers={HEADER: _hexdigest(account.secrets[0], raw).decode()} if account.secrets else {})


def _fitting(message: bytes | None, signature: bytes, secrets: Sequence[str]) -> str | None:
    if message is None:
        return None
    found = None
    for secret in secrets:  # all of them, always: the time says nothing about which one fits
        if hmac.compare_digest(_hexdigest(secret, message), signature):
            found = secret
    return found


def _hexdigest(secret: str, message: bytes) -> bytes:
    return hmac.digest(secret.encode("utf-8", "surrogatepass"), message, "sha256").hex().encode()


def _dumped(raw: bytes) -> bytes | None:
    """The body as Python's `json` writes what it read; None if it is too large, that isn't possible or changes
    nothing."""
    if len(raw) > MAX_DUMPED:
        return None
    try:
        dumped = json.dumps(json.loads(raw)).encode()
    except (ValueError, RecursionError):  # no JSON, no UTF-8, an integer of thousands of digits, nesting
        return None
    return None if dumped == raw else dumped
