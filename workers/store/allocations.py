"""What the route worker answered: one record per answered request, and the manufacturers that must be notified of it.

All records of an order are kept, and the newest one holds (by the time when its request was received), so the order of
processing doesn't matter here either.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from schemas.allocation import ItemAllocation
from storage.database import Connection
from storage.sql import query
from workers.store.prepare import Incoming
from workers.store.rows import Row, columns, execute
from workers.store.versions import DocumentBatch

_encode = msgspec.json.Encoder().encode
_decode_items = msgspec.json.Decoder(tuple[ItemAllocation, ...]).decode
_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode


class ManufacturerNotice(msgspec.Struct, frozen=True):
    """The manufacturers that must be notified of one answered request, each by an event of its own."""

    message: Incoming
    version_id: UUID
    version: int
    """The number of that version."""
    manufacturers: tuple[str, ...]
    document_id: int
    is_new: bool = True
    """Whether its record was not stored before."""


class StoredRecord(msgspec.Struct, frozen=True):
    """The record of one answered request, as it is stored."""

    received_at: datetime
    message_id: UUID
    version_id: UUID
    """The version that the order had when the request was received."""
    items: tuple[ItemAllocation, ...]
    notified: tuple[str, ...] | None = None
    """The manufacturers to notify; None if a newer record existed already, so that no manufacturer is notified."""

    @property
    def position(self) -> tuple[datetime, UUID]:
        return self.received_at, self.message_id


def with_notified(existing: Sequence[StoredRecord], new: Iterable[StoredRecord]) -> list[StoredRecord]:
    """Return the new records, oldest first, each with the manufacturers to notify. `existing`: of the same order.

    A manufacturer is notified if its items differ from those that it was last notified of for this version of the
    order.
    """
    records = sorted(new, key=lambda record: record.position)
    newest = max((record.position for record in (*existing, *records)), default=None)
    announced = [record for record in existing if record.notified is not None]
    last = max(announced, key=lambda record: record.position, default=None)
    result = []
    for record in records:
        if record.position == newest:
            earlier = last.items if last is not None and last.version_id == record.version_id else ()
            record = msgspec.structs.replace(record, notified=changed_manufacturers(earlier, record.items))
        result.append(record)
    return result


def changed_manufacturers(old: Iterable[ItemAllocation], new: Iterable[ItemAllocation]) -> tuple[str, ...]:
    """Return the manufacturers whose items have changed; one that is left without items is not among them."""
    old_items, new_items = _by_manufacturer(old), _by_manufacturer(new)
    return tuple(name for name, items in new_items.items() if old_items.get(name) != items)


def _by_manufacturer(allocations: Iterable[ItemAllocation]) -> dict[str, list[str]]:
    items: dict[str, list[str]] = defaultdict(list)
    for allocation in allocations:
        items[allocation.manufacturer].append(allocation.item)
    return items


def current_allocations(records: Iterable[StoredRecord]) -> dict[str, tuple[datetime, ItemAllocation]]:
    """Return each item's allocation by the newest record, and since when it has been that manufacturer by that rule."""
    ordered = sorted(records, key=lambda record: record.position, reverse=True)
    if not ordered:
        return {}
    current = {item.item: (ordered[0].received_at, item) for item in reversed(ordered[0].items)}
    unchanged = set(current)
    for record in ordered[1:]:
        earlier = {item.item: item for item in reversed(record.items)}
        for name in tuple(unchanged):
            now, before = current[name][1], earlier.get(name)
            if before is not None and (before.manufacturer, before.rule) == (now.manufacturer, now.rule):
                current[name] = (record.received_at, now)
            else:
                unchanged.discard(name)
        if not unchanged:
            break
    return current


async def record_allocations(connection: Connection, documents: Sequence[DocumentBatch]) -> list[ManufacturerNotice]:
    """Store the records among the messages of these locked orders. Return the notices, also of records that existed.

    To be called within the batch's transaction, after the versions are written. Raises asyncpg's errors.
    """
    answered = [
        (document.document_id, message)
        for document in documents
        for message in document.messages
        if message.allocations is not None
    ]
    if not answered:
        return []
    positions = [(id_, message.envelope.received_at, message.message_id) for id_, message in answered]
    rows = await connection.fetch(query("store", "versions_at"), *columns(positions))
    versions = {row["for_message_id"]: row for row in rows}
    records: dict[int, dict[UUID, StoredRecord]] = defaultdict(dict)
    for id_, message in answered:
        if message.message_id in versions:
            records[id_][message.message_id] = _record(message, versions[message.message_id]["id"])
    stored, new_ids = await _store(connection, records)
    return [
        ManufacturerNotice(message, stored[name].version_id, versions[name]["version"], notified, id_, name in new_ids)
        for id_, message in answered
        if (name := message.message_id) in stored and (notified := stored[name].notified)
    ]


async def _store(
    connection: Connection, records: Mapping[int, Mapping[UUID, StoredRecord]]
) -> tuple[dict[UUID, StoredRecord], set[UUID]]:
    """Insert the records, by document, that don't exist yet, and replace the items of orders that they change.

    Return all of them as stored, by message id, and the message ids of those that were inserted.
    """
    known = await _fetch(connection, "newest_records", list(records))
    changed = [id_ for id_, own in records.items() if id_ in known and not _is_repeat(known[id_][-1], own)]
    if changed:
        known |= await _fetch(connection, "records_of", changed)
    stored: dict[UUID, StoredRecord] = {}
    new_ids: set[UUID] = set()
    inserts: list[Row] = []
    items: list[Row] = []
    allocated: list[int] = []
    for id_, own in records.items():
        existing = {record.message_id: record for record in known.get(id_, ())}
        new = with_notified(list(existing.values()), [record for name, record in own.items() if name not in existing])
        stored |= {name: existing[name] for name in own if name in existing}
        stored |= {record.message_id: record for record in new}
        new_ids.update(record.message_id for record in new)
        inserts += [_record_row(id_, record) for record in new]
        if new and (id_ in changed or not existing):
            current = current_allocations([*existing.values(), *new])
            if current:
                allocated.append(id_)
            items += [_item_row(id_, since, allocation) for since, allocation in current.values()]
    await execute(connection, "insert_records", inserts)
    if items:
        await connection.execute(query("store", "clear_items"), sorted(allocated))
        await execute(connection, "insert_items", items)
    return stored, new_ids


def _is_repeat(newest: StoredRecord, records: Mapping[UUID, StoredRecord]) -> bool:
    """Return whether these records only repeat the newest one: the commonest case, a page that was loaded again."""
    return newest.notified is not None and all(
        record.message_id == newest.message_id
        or (
            record.position > newest.position and (record.version_id, record.items) == (newest.version_id, newest.items)
        )
        for record in records.values()
    )


async def _fetch(connection: Connection, name: str, ids: list[int]) -> dict[int, list[StoredRecord]]:
    """Return the records that a query finds for these documents, by document."""
    records: dict[int, list[StoredRecord]] = defaultdict(list)
    for row in await connection.fetch(query("store", name), ids):
        notified = None if row["announced"] is None else _decode_names(row["announced"])
        items = _decode_items(row["items"])
        record = StoredRecord(row["received_at"], row["message_id"], row["version_id"], items, notified)
        records[row["document_id"]].append(record)
    return records


def _record(message: Incoming, version_id: UUID) -> StoredRecord:
    """Return the record of a message, with each item once, in characters that PostgreSQL stores."""
    items: dict[str, ItemAllocation] = {}
    for allocation in message.allocations or ():
        item = ItemAllocation(
            item=_without_nul(allocation.item),
            manufacturer=_without_nul(allocation.manufacturer),
            rule=_without_nul(allocation.rule),
            detail=allocation.detail and _without_nul(allocation.detail),
        )
        items.setdefault(item.item, item)
    return StoredRecord(message.envelope.received_at, message.message_id, version_id, tuple(items.values()))


def _without_nul(text: str) -> str:
    """Return a text without U+0000, which PostgreSQL doesn't store."""
    return text.replace("\0", "\ufffd")


def _record_row(document_id: int, record: StoredRecord) -> Row:
    """Return the row of `insert_records`."""
    notified = None if record.notified is None else _encode(record.notified).decode()
    return (document_id, *record.position, record.version_id, _encode(record.items).decode(), notified)


def _item_row(document_id: int, since: datetime, allocation: ItemAllocation) -> Row:
    """Return the row of `insert_items`."""
    return (document_id, since, allocation.item, allocation.manufacturer, allocation.rule, allocation.detail)
