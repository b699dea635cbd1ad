"""The settings of `[accounts.channelape.<name>]`."""

from typing import Annotated

import msgspec

from schemas.config import QueryKey, QuerySecret


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query parameter that ChannelApe adds to our URL."""

    name: QueryKey
    secret: QuerySecret


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One brand whose transfers are received."""

    keys: Annotated[list[Key], msgspec.Meta(min_length=1)]
    """Each key is accepted, so that every endpoint can have its own, and keys can be rotated without a gap."""
