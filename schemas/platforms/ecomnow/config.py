"""The settings of `[accounts.ecomnow.<name>]`."""

from typing import Annotated

import msgspec

from schemas.config import Secret


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one vendor."""

    authorizations: Annotated[list[Secret], msgspec.Meta(min_length=1)]
    """Registered values of `authentication` ("Basic …"), each of which is accepted, so that they can be rotated."""
