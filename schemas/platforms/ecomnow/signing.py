"""eComNow signs nothing: it sends the `authentication` that we registered as its `Authorization` header."""

import hmac
from collections.abc import Mapping

from schemas.platform import Query, Signed
from schemas.platforms.ecomnow.config import Account

HEADER = "Authorization"


def verify(raw: bytes, headers: Mapping[str, str], query: Query, account: Account, /) -> str | None:
    """Return the value that matched, or None. Never raises."""
    sent = _comparable(headers.get(HEADER, ""))
    matching = None
    for value in account.authorizations:  # always all of them, so that the time does not reveal which one matches
        if hmac.compare_digest(_comparable(value), sent):
            matching = value
    return matching


def _comparable(value: str) -> bytes:
    """Return the bytes to compare: the scheme (`Basic`) may be in either case (RFC 9110 §11.1)."""
    scheme, blank, credentials = value.partition(" ")
    if blank:
        value = f"{scheme.lower()} {credentials.lstrip(' ')}"
    return value.encode("utf-8", "surrogatepass")


def sign(raw: bytes, account: Account, /) -> Signed:
    """Return what eComNow would send."""
    return Signed(headers={HEADER: account.authorizations[0]})
