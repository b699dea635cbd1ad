"""Secrets at rest: AES-256-GCM under the keys of `CROSSDOCK_ENCRYPTION_KEY` (contract §7).

What is sealed names its key, so that several can be in use while one replaces another, and is bound to the row that it
belongs to: copied to another row it doesn't open.
"""

import base64
import binascii
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12
"""What GCM is made for (NIST SP 800-38D §8.2); random ones are good for 2^32 messages a key, far beyond ours."""
_VERSION = b"\x01"
_ID_BYTES = 4
_HEAD = len(_VERSION) + _ID_BYTES


class Undecryptable(Exception):
    """It can't be opened; the text says what to do."""


class Vault:
    """Seals with the first key, opens with any."""

    def __init__(self, keys: list[bytes]) -> None:
        """Raises ValueError unless there is a key and each has KEY_BYTES bytes."""
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(
                "CROSSDOCK_ENCRYPTION_KEY must hold one or more base64 keys of 32 bytes, separated by commas; "
                "`openssl rand -base64 32` makes one"
            )
        self._keys = {_id(key): AESGCM(key) for key in keys}
        self._first = _id(keys[0])

    @classmethod
    def from_text(cls, text: str) -> "Vault":
        """Of base64 (either alphabet) keys separated by commas, the first of which seals. Raises ValueError, without
        showing any of them."""
        return cls([_decoded(part) for part in text.split(",")])

    @staticmethod
    def generate() -> str:
        """A new key, as text."""
        return base64.b64encode(os.urandom(KEY_BYTES)).decode()

    def encrypt(self, plain: bytes, about: bytes) -> bytes:
        """`about`: what it belongs to, a row's id; it must be said again to open it."""
        nonce = os.urandom(_NONCE_BYTES)
        head = _VERSION + self._first
        return head + nonce + self._keys[self._first].encrypt(nonce, plain, head + about)

    def decrypt(self, sealed: bytes, about: bytes) -> bytes:
        """Raises Undecryptable."""
        head, nonce, rest = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE_BYTES], sealed[_HEAD + _NONCE_BYTES :]
        key = self._keys.get(head[len(_VERSION) :])
        if key is None or head[: len(_VERSION)] != _VERSION:
            raise Undecryptable(
                "the key that this was encrypted with is not in CROSSDOCK_ENCRYPTION_KEY: add it behind the first one"
            )
        try:
            return key.decrypt(nonce, rest, head + about)
        except (InvalidTag, ValueError):
            raise Undecryptable("the encrypted value was changed or belongs to another row: set it again") from None

    @property
    def prefix(self) -> bytes:
        """What every value begins with that the first key sealed."""
        return _VERSION + self._first

    def needs_rotation(self, sealed: bytes) -> bool:
        """Whether it was sealed with another key than the first."""
        return sealed[:_HEAD] != self.prefix

    def __repr__(self) -> str:
        return f"Vault({len(self._keys)} keys)"


def _id(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=_ID_BYTES, person=b"crossdock key").digest()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return b""
