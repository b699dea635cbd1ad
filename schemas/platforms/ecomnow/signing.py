"""eComNow signs nothing: it sends the `authentication` that we registered as its `Authorization` header."""

import hmac
from collections.abc import Mapping

from schemas.platform import Query, Signed
from schemas.platforms.ecomnow.config import Account

HEADER = "Authorization"


def verify(raw: bytes, headers: Mapping[str, str], query: Query, account: Account, /) -> str | None:
    """The value that fitted, or None. Never raises."""
    sent = headers.get(HEADER, "").encode("utf-8", "surrogatepass")
    found = None
    for value in account.authorizations:  # all of them, always: the time says nothing about which one fits
        if hmac.compare_digest(value.encode("utf-8", "surrogatepass"), sent):
            found = value
    return found


def sign(raw: bytes, account: Account, /) -> Signed:
    """What eComNow would send."""
    return Signed(headers={HEADER: account.authorizations[0]})
