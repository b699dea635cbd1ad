"""Versions of a document, as a pure function of the set of its receipts.

Receipts in the order they were received; each run of equal content is a version. So any order of processing, any
repetition and any interleaving of workers comes to the same versions with the same ids.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec


class Receipt(msgspec.Struct, frozen=True, order=True):
    """One accepted post of a document, as far as versions are concerned."""

    received_at: datetime
    message_id: UUID
    digest: bytes


class Run(msgspec.Struct, frozen=True):
    """One version: neighbouring receipts of equal content."""

    id: UUID
    version: int
    digest: bytes
    occurrence: int
    """How many earlier versions had the same content."""
    first: Receipt
    last_received_at: datetime
    times_received: int
    repeated: bool
    """Its content is the version's before it, sent again after the repeat window."""


def identity(platform: str, account: str, type_: str, key: str, digest: bytes, occurrence: int) -> UUID:
    """A version's id: of its document, its content, and how often that content had been there before.

    It doesn't depend on the version's number, so that a post which turns up late renumbers versions and renames none.
    """
    text = "\0".join((platform, account, type_, key, str(occurrence))).encode("utf-8", "surrogatepass")
    return hashed(text + b"\0" + digest)


def hashed(content: bytes) -> UUID:
    """A UUID of version 8 (RFC 9562: our own content), the same for the same bytes."""
    value = bytearray(hashlib.blake2b(content, digest_size=16).digest())
    value[6] = value[6] & 0x0F | 0x80
    value[8] = value[8] & 0x3F | 0x80
    return UUID(bytes=bytes(value))


def runs(
    platform: str, account: str, type_: str, key: str, receipts: Iterable[Receipt], window: float | None
) -> list[Run]:
    """The versions of a document, oldest first. `window`: seconds after which equal content counts as new."""
    found: list[Run] = []
    seen: dict[bytes, int] = defaultdict(int)
    for receipt in sorted(receipts):
        newest = found[-1] if found else None
        if newest is not None and newest.digest == receipt.digest:
            gap = (receipt.received_at - newest.last_received_at).total_seconds()
            if window is None or gap <= window:
                found[-1] = msgspec.structs.replace(
                    newest, last_received_at=receipt.received_at, times_received=newest.times_received + 1
                )
                continue
        occurrence = seen[receipt.digest]
        seen[receipt.digest] += 1
        found.append(
            Run(
                id=identity(platform, account, type_, key, receipt.digest, occurrence),
                version=len(found) + 1,
                digest=receipt.digest,
                occurrence=occurrence,
                first=receipt,
                last_received_at=receipt.received_at,
                times_received=1,
                repeated=newest is not None and newest.digest == receipt.digest,
            )
        )
    return found
