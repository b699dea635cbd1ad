"""eComNow signs nothing: it sends the `authentication` that we registered as its `Authorization` header."""

import hmac
from collections.abc import Mapping

from schemas.platform import Query, Signed
from schemas.platforms.ecomnow.config import Account

HEADER = "Authorization"


def verify(raw: bytes, headers: Mapping[str, str], query: Query, account: Account, /) -> str | None:
    """The value that fitted, or None. Never raises."""
    sent = _comparable(headers.get(HEADER, ""))
    found = None
    for value in account.authorizations:  # all of them, always: the time says nothing about which one fits
        if hmac.compare_digest(_comparable(value), sent):
            found = value
    return found


def _comparable(value: str) -> bytes:
    """Return the bytes to compare: the scheme (`Basic`) may be in either case (RFC 9110 §11.1)."""
    scheme, blank, credentials = value.partition(" ")
    if blank:
        value = f"{scheme.lower()} {credentials.lstrip(' ')}"
    return value.encode("utf-8", "surrogatepass")


def sign(raw: bytes, account: Account, /) -> Signed:
    """What eComNow would send."""
    return Signed(headers={HEADER: account.authorizations[0]})
