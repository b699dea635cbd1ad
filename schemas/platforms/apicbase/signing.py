"""Apicbase signs with HMAC-SHA256 in hexadecimal, over `json.dumps(data)` as Python writes it.

A sender that posts with the same serialiser signs the very bytes that it sends, so these are tried first. Only if they
don't match, the body is parsed and dumped again: that changes `é`, `1.10`, `1e2` and duplicate keys, so it is only a
second chance for a sender that signs one rendering and posts another.
"""

import hmac
import json
from collections.abc import Mapping, Sequence

from schemas.platform import Query, Signed
from schemas.platforms.apicbase.config import Account

HEADER = "X-APIC-WEBHOOK-SIGNATURE"
MAX_DUMPED = 64 * 1024
"""Maximum bytes of a body that is parsed and dumped again. Anyone can cause that, and a megabyte of short numbers takes
0.3 s, during which no other request is answered; a purchase order has a few kilobytes. Larger orders are accepted if
their own bytes are signed."""
_HEX = frozenset(b"0123456789abcdef")


def verify(raw: bytes, headers: Mapping[str, str], query: Query, account: Account, /) -> str | None:
    """Return the secret that verified the signature, or None. Hexadecimal digits may have either case. Never raises."""
    signature = headers.get(HEADER, "").encode("utf-8", "surrogatepass").lower()
    # Parsing and dumping costs far more than hashing, so a header that cannot be a signature is rejected first.
    if len(signature) != 64 or not _HEX.issuperset(signature):
        return None
    return _fitting(raw, signature, account.secrets) or _fitting(_dumped(raw), signature, account.secrets)


def sign(raw: bytes, account: Account, /) -> Signed:
    """Return what Apicbase would send with these bytes; without a secret there is no valid signature."""
    return Signed(headers={HEADER: _hexdigest(account.secrets[0], raw).decode()} if account.secrets else {})


def _fitting(message: bytes | None, signature: bytes, secrets: Sequence[str]) -> str | None:
    if message is None:
        return None
    fitting = None
    for secret in secrets:  # always all of them, so that the time does not reveal which one matches
        if hmac.compare_digest(_hexdigest(secret, message), signature):
            fitting = secret
    return fitting


def _hexdigest(secret: str, message: bytes) -> bytes:
    return hmac.digest(secret.encode("utf-8", "surrogatepass"), message, "sha256").hex().encode()


def _dumped(raw: bytes) -> bytes | None:
    """Return the body as Python's `json` parses and writes it.

    The result is None if the body is too large or not JSON, or if it would not change.
    """
    if len(raw) > MAX_DUMPED:
        return None
    try:
        dumped = json.dumps(json.loads(raw)).encode()
    except (ValueError, RecursionError):  # not JSON, not UTF-8, an integer of thousands of digits, nesting
        return None
    return None if dumped == raw else dumped
