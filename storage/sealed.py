"""A subscription's secrets as stored in its row: encrypted by the vault and bound to the row."""

from uuid import UUID

import msgspec

from schemas.outbound import Credentials
from storage.vault import UndecryptableError, Vault


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """One secret; `until` is the Unix time in seconds at which it expires, None for the newest."""

    secret: str
    until: float | None = None

    def __repr__(self) -> str:
        return "Secret(…)"


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """The secrets that are encrypted together, newest first."""

    secrets: tuple[Secret, ...] = ()
    authorization: str | None = None

    def __repr__(self) -> str:
        return "Sealed(…)"


def seal(vault: Vault, subscription: UUID, secrets: Sealed) -> bytes:
    """Encrypt a subscription's secrets for the column `sealed`."""
    return vault.encrypt(msgspec.json.encode(secrets), subscription.bytes)


def unseal(vault: Vault, subscription: UUID, sealed: bytes) -> Sealed:
    """Decrypt the column `sealed`; raises UndecryptableError if that fails."""
    try:
        return msgspec.json.decode(vault.decrypt(sealed, subscription.bytes), type=Sealed)
    except msgspec.DecodeError:
        raise UndecryptableError("the encrypted value does not hold a subscription's secrets: set them again") from None


def credentials(secrets: Sealed, query_key: str | None, now: float) -> Credentials:
    """Return the credentials for a dialect, without secrets that have expired at `now` (Unix seconds)."""
    valid = tuple(secret.secret for secret in secrets.secrets if secret.until is None or secret.until > now)
    return Credentials(secrets=valid, authorization=secrets.authorization, query_key=query_key)
