"""Rows as the statements of `storage/queries/store.sql` want them, and a version as it is announced."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from schemas.documents import Document
from schemas.platform import Line
from workers.store import versions
from workers.store.prepare import Incoming
from workers.store.versions import Receipt, Run

REVISED = "revised"
"""An order that changed."""
REPEAT_SUSPECTED = "repeat_suspected"
"""The same content again, too late to be taken for a repeat."""

_lines = msgspec.json.Encoder(decimal_format="number").encode


class Stored(msgspec.Struct, frozen=True):
    """A version with what was received: what its row and its event are made of."""

    document_id: int
    message: Incoming
    run: Run

    @property
    def id(self) -> UUID:
        return self.run.id

    @property
    def document(self) -> Document:
        assert self.message.document is not None
        return self.message.document


class Group(msgspec.Struct):
    """The messages of one batch that belong to one document."""

    platform: str
    account: str
    type: str
    key: str
    messages: list[Incoming]
    id: int = 0
    fresh: bool = False

    @property
    def window(self) -> float | None:
        document = self.messages[0].document
        assert document is not None
        return document.reading.repeat_window


def receipt(message: Incoming) -> Receipt:
    """A message, as far as versions are concerned."""
    assert message.document is not None
    return Receipt(message.envelope.received_at, message.message_id, message.document.digest)


def runs_of(group: Group, receipts: Sequence[Receipt]) -> list[versions.Run]:
    return versions.runs(group.platform, group.account, group.type, group.key, receipts, group.window)


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as one array a column, for unnest. At least one row."""
    return [list(column) for column in zip(*rows, strict=True)]


def flags(content: Iterable[str], run: Run, *, revisable: bool) -> str:
    """Those of the content and those of the version's place, separated by commas."""
    found = list(content)
    if run.version > 1 and revisable:
        found.append(REVISED)
    if run.repeated:
        found.append(REPEAT_SUSPECTED)
    return ",".join(found)


def place_rows(groups: Sequence[Group], newest: Sequence[Run]) -> list[tuple[Any, ...]]:
    """documents: as if the batch were all there is of each."""
    rows = []
    for group, run in zip(groups, newest, strict=True):
        message = next(one for one in group.messages if one.message_id == run.first.message_id)
        assert message.document is not None
        reading = message.document.reading
        rows.append(
            (
                group.platform,
                group.account,
                group.type,
                group.key,
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
        )
    return rows


def receipt_rows(groups: Iterable[Group]) -> list[tuple[Any, ...]]:
    """receipts, in one order for everyone."""
    rows = []
    for group in groups:
        for message in group.messages:
            about, document = message.envelope, message.document
            assert document is not None
            rows.append(
                (
                    about.received_at,
                    message.message_id,
                    group.id,
                    document.digest,
                    about.event,
                    ",".join(document.flags),
                    about.content_type,
                    about.traceparent,
                    message.raw,
                )
            )
    rows.sort(key=lambda row: (row[0], row[1]))
    return rows


def version_rows(made: Iterable[Stored]) -> list[tuple[Any, ...]]:
    """versions, with their lines."""
    rows = []
    for stored in made:
        run, document = stored.run, stored.document
        reading = document.reading
        rows.append(
            (
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
        )
    return rows


def lines_json(lines: Sequence[Line]) -> str:
    """The lines as JSON whose numbers are the exact decimals."""
    return _lines(lines).decode()
