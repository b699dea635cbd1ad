"""ChannelApe signs nothing: it adds `?<key>=<secret>`, one key and secret per endpoint, to the URL it posts to."""

import hmac
from collections.abc import Mapping

from schemas.platform import Query, Signed
from schemas.platforms.channelape.config import Account


def verify(raw: bytes, headers: Mapping[str, str], query: Query, account: Account, /) -> str | None:
    """Return the secret that matched, or None. If a key is repeated, one matching value is enough. Never raises."""
    matching = None
    for key in account.keys:  # always all of them, so that the time does not reveal which one matches
        secret = key.secret.encode("utf-8", "surrogatepass")
        for value in query.getall(key.name, []):
            if hmac.compare_digest(secret, value.encode("utf-8", "surrogatepass")):
                matching = key.secret
    return matching


def sign(raw: bytes, account: Account, /) -> Signed:
    """Return what ChannelApe would add to the URL."""
    return Signed(query={account.keys[0].name: account.keys[0].secret})
