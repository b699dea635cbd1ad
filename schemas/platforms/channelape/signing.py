"""ChannelApe signs nothing: it adds `?<key>=<secret>`, one key and secret per endpoint, to the URL it posts to."""

import hmac
from collections.abc import Mapping

from schemas.platform import Query, Signed
from schemas.platforms.channelape.config import Account


def verify(raw: bytes, headers: Mapping[str, str], query: Query, account: Account, /) -> str | None:
    """The secret that fitted, or None. A key given twice: it is enough that one value fits. Never raises."""
    found = None
    for key in account.keys:  # all of them, always: the time says nothing about which one fits
        secret = key.secret.encode("utf-8", "surrogatepass")
        for value in query.getall(key.name, []):
            if hmac.compare_digest(secret, value.encode("utf-8", "surrogatepass")):
                found = key.secret
    return found


def sign(raw: bytes, account: Account, /) -> Signed:
    """What ChannelApe would add to the URL."""
    return Signed(query={account.keys[0].name: account.keys[0].secret})
