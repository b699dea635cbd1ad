"""`[accounts.ecomnow.<name>]`."""

from typing import Annotated

import msgspec

from schemas.config import Secret


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One vendor."""

    authorizations: Annotated[list[Secret], msgspec.Meta(min_length=1)]
    """What was registered as `authentication` ("Basic …"); any that fits is accepted: rotation without a gap."""
