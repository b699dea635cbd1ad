"""A subscription's secrets, as they lie in its row: sealed by the vault and bound to it."""

from uuid import UUID

import msgspec

from schemas.outbound import Credentials
from storage.vault import Undecryptable, Vault


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """One secret; `until`: Unix seconds after which it counts no more, None for the newest."""

    secret: str
    until: float | None = None

    def __repr__(self) -> str:
        return "Secret(…)"


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """What is sealed. Newest secret first."""

    secrets: tuple[Secret, ...] = ()
    authorization: str | None = None

    def __repr__(self) -> str:
        return "Sealed(…)"


def seal(vault: Vault, subscription: UUID, secrets: Sealed) -> bytes:
    """For the column `sealed`."""
    return vault.encrypt(msgspec.json.encode(secrets), subscription.bytes)


def unseal(vault: Vault, subscription: UUID, sealed: bytes) -> Sealed:
    """Raises Undecryptable."""
    try:
        return msgspec.json.decode(vault.decrypt(sealed, subscription.bytes), type=Sealed)
    except msgspec.DecodeError:
        raise Undecryptable("the encrypted value does not hold a subscription's secrets: set them again") from None


def credentials(secrets: Sealed, query_key: str | None, now: float) -> Credentials:
    """What a dialect works with. `now`: Unix seconds; secrets whose time is over are left out."""
    valid = tuple(one.secret for one in secrets.secrets if one.until is None or one.until > now)
    return Credentials(secrets=valid, authorization=secrets.authorization, query_key=query_key)
