"""The event that announces an erasure (contract §11), so that others can erase what they received."""

from collections.abc import Iterable
from uuid import UUID

import msgspec

TYPE = "crossdock.erased"
"""Event type. It belongs to no platform: the documents of all platforms can be erased."""


class ErasedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The `data` of the event: a document, and the events whose content was erased."""

    platform: str
    account: str
    type: str
    key: str
    event_ids: list[str]
    """The `id`s of the events that were published of it."""


def data(*, platform: str, account: str, type: str, key: str, event_ids: Iterable[UUID]) -> bytes:  # noqa: A002
    """Return the `data` of the event as JSON."""
    ids = sorted(str(id_) for id_ in event_ids)
    return msgspec.json.encode(ErasedDocument(platform=platform, account=account, type=type, key=key, event_ids=ids))
