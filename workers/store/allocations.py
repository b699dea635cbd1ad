"""What the route worker answered, written beside the order, and what the manufacturers are to be told of it.

Records are kept, one per answered request; what holds is the newest one's (by when the request was received), so that
the order of processing doesn't matter here either.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from schemas.platforms.ustore.record import ItemAllocation
from storage.database import Connection
from storage.sql import query
from workers.store.ids import uuid8
from workers.store.prepare import Incoming
from workers.store.rows import Row, columns
from workers.store.versions import DocumentBatch

_encode = msgspec.json.Encoder().encode
_items = msgspec.json.Decoder(tuple[ItemAllocation, ...]).decode
_names = msgspec.json.Decoder(tuple[str, ...]).decode


class ManufacturerNotice(msgspec.Struct, frozen=True):
    """News for manufacturers: one message each."""

    message: Incoming
    version_id: UUID
    version: int
    manufacturers: tuple[str, ...]
    document_id: int
    is_new: bool = True
    """Not filed before."""


class Record(msgspec.Struct, frozen=True):
    """One answered request."""

    received_at: datetime
    message_id: UUID
    version_id: UUID
    """Of the order as it was then."""
    items: tuple[ItemAllocation, ...]
    announced: tuple[str, ...] | None = None
    """The manufacturers it had news for; None: it came after a newer one and told nobody."""

    @property
    def place(self) -> tuple[datetime, UUID]:
        return self.received_at, self.message_id


def event_id(version_id: UUID, manufacturer: str, items: Sequence[str]) -> UUID:
    """Of a manufacturer's message: the same whenever the same items of the same version go the same way."""
    text = "\0".join((manufacturer, *items)).encode("utf-8", "surrogatepass")
    return uuid8(version_id.bytes + text)


def announce(known: Sequence[Record], new: Iterable[Record]) -> list[Record]:
    """`new` records with what each has to tell, beside `known` ones of the same order.

    A manufacturer is told when its items aren't those that it was last told for this version of the order.
    """
    fresh = sorted(new, key=lambda record: record.place)
    newest = max((record.place for record in (*known, *fresh)), default=None)
    said = [record for record in known if record.announced is not None]
    base = max(said, key=lambda record: record.place, default=None)
    found = []
    for record in fresh:
        if record.place == newest:
            before = base.items if base is not None and base.version_id == record.version_id else ()
            record = msgspec.structs.replace(record, announced=news(before, record.items))
        found.append(record)
    return found


def news(before: Iterable[ItemAllocation], now: Iterable[ItemAllocation]) -> tuple[str, ...]:
    """Manufacturers whose items are not what they were; one that lost all of them hears nothing."""
    old, new = _by_manufacturer(before), _by_manufacturer(now)
    return tuple(name for name, items in new.items() if old.get(name) != items)


def holding(records: Iterable[Record]) -> dict[str, tuple[datetime, ItemAllocation]]:
    """By item: where it goes according to the newest record, and since when it has gone there by that rule."""
    ordered = sorted(records, key=lambda record: record.place, reverse=True)
    if not ordered:
        return {}
    found = {one.item: (ordered[0].received_at, one) for one in reversed(ordered[0].items)}
    changing = set(found)
    for record in ordered[1:]:
        there = {one.item: one for one in reversed(record.items)}
        for item in tuple(changing):
            one, was = found[item][1], there.get(item)
            if was is not None and (was.manufacturer, was.rule) == (one.manufacturer, one.rule):
                found[item] = (record.received_at, one)
            else:
                changing.discard(item)
        if not changing:
            break
    return found


async def record_allocations(connection: Connection, groups: Sequence[DocumentBatch]) -> list[ManufacturerNotice]:
    """Files the records among the messages of these locked orders. News, also of records that were filed before.

    Within the batch's transaction, after the versions. Raises asyncpg's errors.
    """
    asked = [
        (group.document_id, message)
        for group in groups
        for message in group.messages
        if message.allocations is not None
    ]
    if not asked:
        return []
    places = [(id_, message.envelope.received_at, message.message_id) for id_, message in asked]
    versions = {row["asked"]: row for row in await connection.fetch(query("store", "versions_at"), *columns(places))}
    new: dict[int, dict[UUID, Record]] = defaultdict(dict)
    for id_, message in asked:
        if message.message_id in versions:
            new[id_][message.message_id] = _new(message, versions[message.message_id]["id"])
    filed, fresh = await _file(connection, new)
    return [
        ManufacturerNotice(message, filed[name].version_id, versions[name]["version"], announced, id_, name in fresh)
        for id_, message in asked
        if (name := message.message_id) in filed and (announced := filed[name].announced)
    ]


async def _file(
    connection: Connection, new: Mapping[int, Mapping[UUID, Record]]
) -> tuple[dict[UUID, Record], set[UUID]]:
    """Every record as it is filed, by message id, and those that weren't before; orders whose newest record says
    something new get their items."""
    known = await _fetch(connection, "newest_records", list(new))
    longer = [id_ for id_, records in new.items() if id_ in known and not _again(known[id_][-1], records)]
    if longer:
        known |= await _fetch(connection, "records_of", longer)
    filed: dict[UUID, Record] = {}
    added: set[UUID] = set()
    inserts: list[Row] = []
    items: list[Row] = []
    allocated: list[int] = []
    for id_, records in new.items():
        there = {record.message_id: record for record in known.get(id_, ())}
        fresh = announce(list(there.values()), [record for name, record in records.items() if name not in there])
        filed |= {name: there[name] for name in records if name in there} | {one.message_id: one for one in fresh}
        added |= {one.message_id for one in fresh}
        inserts += [_row(id_, record) for record in fresh]
        if fresh and (id_ in longer or not there):
            held = holding([*there.values(), *fresh])
            if held:
                allocated.append(id_)
            items += [(id_, at, one.item, one.manufacturer, one.rule, one.detail) for at, one in held.values()]
    if inserts:
        await connection.execute(query("store", "insert_records"), *columns(inserts))
    if items:
        await connection.execute(query("store", "clear_items"), sorted(allocated))
        await connection.execute(query("store", "insert_items"), *columns(items))
    return filed, added


def _again(newest: Record, records: Mapping[UUID, Record]) -> bool:
    """Whether these only say the newest record again: the commonest, a page that was loaded again."""
    return newest.announced is not None and all(
        one.message_id == newest.message_id
        or (one.place > newest.place and (one.version_id, one.items) == (newest.version_id, newest.items))
        for one in records.values()
    )


async def _fetch(connection: Connection, name: str, ids: list[int]) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = defaultdict(list)
    for row in await connection.fetch(query("store", name), ids):
        announced = None if row["announced"] is None else _names(row["announced"])
        found[row["document_id"]].append(
            Record(row["received_at"], row["message_id"], row["version_id"], _items(row["items"]), announced)
        )
    return found


def _new(message: Incoming, version_id: UUID) -> Record:
    """Each item once, in characters that can be stored."""
    once: dict[str, ItemAllocation] = {}
    for one in message.allocations or ():
        texts = (one.item, one.manufacturer, one.rule, one.detail)
        clean = ItemAllocation(*(text and text.replace("\0", "\ufffd") for text in texts))  # type: ignore[arg-type]
        once.setdefault(clean.item, clean)
    return Record(message.envelope.received_at, message.message_id, version_id, tuple(once.values()))


def _row(document_id: int, record: Record) -> Row:
    announced = None if record.announced is None else _encode(record.announced).decode()
    return (document_id, *record.place, record.version_id, _encode(record.items).decode(), announced)


def _by_manufacturer(items: Iterable[ItemAllocation]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for item in items:
        found[item.manufacturer].append(item.item)
    return found
