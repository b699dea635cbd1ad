"""Rows as the statements of `storage/queries/store.sql` want them, and a version as it is announced."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from schemas.documents import Document
from schemas.platform import Line
from workers.store import versions
from workers.store.prepare import Incoming
from workers.store.versions import Receipt, Version

REVISED = "revised"
"""An order that changed."""
REPEAT_SUSPECTED = "repeat_suspected"
"""The same content again, too late to be taken for a repeat."""

Row = tuple[Any, ...]

_encode = msgspec.json.Encoder(decimal_format="number").encode


class StoredVersion(msgspec.Struct, frozen=True):
    """A version with what was received: what its row and its event are made of."""

    document_id: int
    message: Incoming
    run: Version

    @property
    def id(self) -> UUID:
        return self.run.id

    @property
    def document(self) -> Document:
        assert self.message.document is not None
        return self.message.document


class DocumentBatch(msgspec.Struct):
    """The messages of one batch that belong to one document."""

    identity: versions.Document
    messages: list[Incoming]
    runs: list[Version] = []
    """Its versions, if these messages were all there is of it."""
    id: int = 0
    made: bool = False
    """This batch made the document."""
    new: list[Incoming] = []
    """Those that weren't stored before."""
    merged: bool = False
    """Other documents have just been put into it: its versions are worked out again from the first on."""

    @property
    def origin(self) -> versions.Document:
        """What ids of versions are made of: a key that may change once more is known is no part of them."""
        reading = self.document.reading
        return self.identity if reading.scope is None else (*self.identity[:3], reading.scope)

    @property
    def document(self) -> Document:
        """One of its documents: they share the type, and what depends on it."""
        document = self.messages[0].document
        assert document is not None
        return document

    def follow(self, messages: Iterable[Incoming], before: Version | None = None, **seen: Any) -> list[Version]:
        """The versions of these messages, from `before` on."""
        receipts = [receipt(message) for message in messages]
        return versions.runs(self.origin, receipts, self.document.reading.repeat_window, before=before, **seen)

    def stored(self, runs: Sequence[Version]) -> list[StoredVersion]:
        """Versions with the messages of this batch that they begin with."""
        if len(self.messages) == 1:
            return [StoredVersion(self.id, self.messages[0], run) for run in runs]
        by_id = {message.message_id: message for message in self.messages}
        return [StoredVersion(self.id, by_id[run.first.message_id], run) for run in runs]


def receipt(message: Incoming) -> Receipt:
    """A message, as far as versions are concerned."""
    assert message.document is not None
    return Receipt(message.envelope.received_at, message.message_id, message.document.digest)


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as one array a column, for unnest. At least one row."""
    return [list(column) for column in zip(*rows, strict=True)]


def flags(content: Iterable[str], run: Version, *, revisable: bool) -> list[str]:
    """Those of the content and those of the version's place."""
    found = list(content)
    if run.version > 1 and revisable:
        found.append(REVISED)
    if run.repeated:
        found.append(REPEAT_SUSPECTED)
    return found


def document_row(group: DocumentBatch) -> Row:
    """crossdock.new_document: as if the batch were all there is of it."""
    run = group.runs[-1]
    document = group.document if len(group.messages) == 1 else group.stored([run])[0].document
    reading = document.reading
    return (
        *group.identity,
        run.first.received_at,
        run.last_received_at,
        run.id,
        run.version,
        run.times_received,
        run.digest,
        reading.order_number,
        reading.order_ref,
        reading.warehouse_ref,
        reading.ship_from,
        reading.ship_to,
    )


def document_newest(document_id: int, run: Version) -> Row:
    """documents: which version is the newest now."""
    return document_id, run.id, run.first.received_at, run.version, run.times_received, run.last_received_at


RECEIPT_COLUMNS = (
    "received_at",
    "message_id",
    "document_id",
    "digest",
    "event",
    "flags",
    "content_type",
    "traceparent",
    "raw",
)


def receipt_row(document_id: int, message: Incoming) -> Row:
    """RECEIPT_COLUMNS."""
    about, document = message.envelope, message.document
    assert document is not None
    return (
        about.received_at,
        message.message_id,
        document_id,
        document.digest,
        about.event,
        document.flags,
        about.content_type,
        about.traceparent,
        message.raw,
    )


VERSION_COLUMNS = (
    "id",
    "document_id",
    "received_at",
    "last_received_at",
    "message_id",
    "version",
    "times_received",
    "occurrence",
    "digest",
    "shipped_at",
    "goods_received_at",
    "flags",
    "order_number",
    "order_ref",
    "warehouse_ref",
    "carton",
    "ship_from",
    "ship_to",
    "placed_at",
    "lines",
    "body",
)


def version_row(stored: StoredVersion) -> Row:
    """VERSION_COLUMNS."""
    run, document = stored.run, stored.document
    reading = document.reading
    return (
        run.id,
        stored.document_id,
        run.first.received_at,
        run.last_received_at,
        run.first.message_id,
        run.version,
        run.times_received,
        run.occurrence,
        run.digest,
        reading.shipped_at,
        reading.goods_received_at,
        flags(document.flags, run, revisable=reading.flag_revised),
        reading.order_number,
        reading.order_ref,
        reading.warehouse_ref,
        reading.carton,
        reading.ship_from,
        reading.ship_to,
        reading.placed_at,
        lines_json(reading.lines),
        document.body,
    )


def lines_json(lines: Sequence[Line]) -> str:
    """The lines as JSON without what is null; numbers are the exact decimals."""
    return _encode(lines).decode()
