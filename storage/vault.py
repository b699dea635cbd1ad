"""Secrets at rest: AES-256-GCM under the keys of `CROSSDOCK_ENCRYPTION_KEY` (contract §7).

An encrypted value names its key, so that several can be in use while one replaces another. It is bound to the row that
it belongs to: copied to another row, it cannot be decrypted.
"""

import base64
import binascii
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12
"""The nonce size that GCM is designed for (NIST SP 800-38D §8.2).

Random nonces are safe for 2^32 messages per key, far more than we encrypt.
"""
_VERSION = b"\x01"
_ID_BYTES = 4
_HEAD = len(_VERSION) + _ID_BYTES


class UndecryptableError(Exception):
    """A value cannot be decrypted; the text states what to do."""


class Vault:
    """Encrypts with the first key, and decrypts with any of them."""

    def __init__(self, keys: list[bytes]) -> None:
        """Create a vault; raises ValueError unless there is at least one key and each has KEY_BYTES bytes."""
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(
                "CROSSDOCK_ENCRYPTION_KEY must hold one or more base64 keys of 32 bytes, separated by commas; "
                "`openssl rand -base64 32` makes one"
            )
        self._keys = {_id(key): AESGCM(key) for key in keys}
        self._first = _id(keys[0])

    @classmethod
    def from_text(cls, text: str) -> "Vault":
        """Create a vault from base64 keys (either alphabet) separated by commas; the first one encrypts.

        Raises ValueError, whose message contains none of the keys.
        """
        return cls([_decoded(part) for part in text.split(",")])

    @staticmethod
    def generate() -> str:
        """Return a new random key as base64 text."""
        return base64.b64encode(os.urandom(KEY_BYTES)).decode()

    def encrypt(self, plain: bytes, binding: bytes) -> bytes:
        """Encrypt a value and bind it to `binding`, such as a row's id, which is needed again to decrypt it."""
        nonce = os.urandom(_NONCE_BYTES)
        head = _VERSION + self._first
        return head + nonce + self._keys[self._first].encrypt(nonce, plain, head + binding)

    def decrypt(self, sealed: bytes, binding: bytes) -> bytes:
        """Decrypt a value that is bound to `binding`; raises UndecryptableError if that fails."""
        head, nonce, rest = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE_BYTES], sealed[_HEAD + _NONCE_BYTES :]
        key = self._keys.get(head[len(_VERSION) :])
        if key is None or head[: len(_VERSION)] != _VERSION:
            raise UndecryptableError(
                "the key that this was encrypted with is not in CROSSDOCK_ENCRYPTION_KEY: add it behind the first one"
            )
        try:
            return key.decrypt(nonce, rest, head + binding)
        except (InvalidTag, ValueError):
            raise UndecryptableError(
                "the encrypted value was changed or belongs to another row: set it again"
            ) from None

    @property
    def prefix(self) -> bytes:
        """The bytes with which every value encrypted with the first key begins."""
        return _VERSION + self._first

    def needs_rotation(self, sealed: bytes) -> bool:
        """Return whether a value was encrypted with another key than the first."""
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
