"""`[accounts.channelape.<name>]`."""

from typing import Annotated

import msgspec

from schemas.config import QueryKey, QuerySecret


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query parameter that ChannelApe adds to our URL."""

    name: QueryKey
    secret: QuerySecret


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One brand whose transfers we see."""

    keys: Annotated[list[Key], msgspec.Meta(min_length=1)]
    """Any that fits is accepted: a key per endpoint, and rotation without a gap."""
