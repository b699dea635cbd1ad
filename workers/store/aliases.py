"""Documents that are recognised by any of several identifiers: the cartons of a shipment.

ChannelApe sends "the newest copy" of a carton, and copies differ in which identifiers they have. So what is known of
each shipment's cartons is kept (`crossdock.shipments`), and a message belongs to the carton that it shares an
identifier with. A message may show that two cartons are one: then their documents are merged. A carton's key is the
best identifier that any of its copies had, so that any order of arrival comes to the same documents.
"""

from collections.abc import Iterable, Sequence

import asyncpg
import msgspec

from schemas.platform import alias_key
from storage.sql import query
from workers.store import versions
from workers.store.prepare import Incoming
from workers.store.rows import columns

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Shipment = tuple[str, str, str, str]
"""platform, account, type, scope."""

_encode = msgspec.json.Encoder().encode


class Carton(msgspec.Struct, frozen=True):
    """One carton of a shipment, as it is kept."""

    key: str
    aliases: tuple[str, ...]
    """Sorted: the best first."""


_decode = msgspec.json.Decoder(tuple[Carton, ...]).decode


class Resolved(msgspec.Struct, frozen=True):
    """What the cartons of a shipment are, with the messages that came."""

    cartons: tuple[Carton, ...]
    keys: dict[str, str]
    """By alias."""
    changed: dict[str, tuple[str, ...]]
    """New key → the keys under which this carton was known before, where that is not just the new one."""


def resolve(scope: str, known: Iterable[Carton], said: Iterable[tuple[str, ...]]) -> Resolved:
    """Join everything that shares an alias. Each of `said` holds the aliases of one message."""
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents[name] != name:
            parents[name] = name = parents[parents[name]]
        return name

    def join(names: Sequence[str]) -> None:
        for name in names:
            parents.setdefault(name, name)
        first = root(names[0])
        for name in names[1:]:
            other = root(name)
            if other != first:
                first, other = min(first, other), max(first, other)
                parents[other] = first

    stored = list(known)
    for carton in stored:
        join(carton.aliases)
    for one in said:
        join(one)
    members: dict[str, list[str]] = {}
    for name in parents:
        members.setdefault(root(name), []).append(name)
    before: dict[str, list[str]] = {}
    for carton in stored:
        before.setdefault(root(carton.aliases[0]), []).append(carton.key)
    cartons: list[Carton] = []
    keys: dict[str, str] = {}
    changed: dict[str, tuple[str, ...]] = {}
    for first, names in members.items():
        carton = Carton(alias_key(scope, min(names)), tuple(sorted(names)))
        cartons.append(carton)
        keys |= dict.fromkeys(names, carton.key)
        were = tuple(before.get(first, ()))
        if were not in ((), (carton.key,)):
            changed[carton.key] = were
    return Resolved(tuple(sorted(cartons, key=lambda carton: carton.key)), keys, changed)


async def recognise(
    connection: Connection, batch: Sequence[Incoming]
) -> tuple[Sequence[Incoming], frozenset[versions.Document]]:
    """Return the batch with each message under its document's key, and the documents that others were merged into.

    Locks the shipments, so that two workers never make two documents of one carton. Within the batch's transaction,
    before its documents are claimed. Raises asyncpg's errors.
    """
    asked: dict[Shipment, list[tuple[str, ...]]] = {}
    for message in batch:
        if message.document is not None and message.document.reading.aliases:
            asked.setdefault(_shipment(message), []).append(message.document.reading.aliases)
    if not asked:
        return batch, frozenset()
    found = {shipment: resolve(shipment[3], (), said) for shipment, said in sorted(asked.items())}
    rows = [(*shipment, _encode(one.cartons).decode()) for shipment, one in found.items()]
    made = {tuple(row) for row in await connection.fetch(query("store", "claim_shipments"), *columns(rows))}
    merged: set[versions.Document] = set()
    if len(made) < len(found):
        there = [shipment for shipment in found if shipment not in made]
        newer: list[tuple[str, ...]] = []
        for row in await connection.fetch(query("store", "claimed_shipments"), *columns(there)):
            shipment, known = (row["platform"], row["account"], row["type"], row["shipment"]), _decode(row["cartons"])
            one = found[shipment] = resolve(shipment[3], known, asked[shipment])
            if one.cartons != known:
                newer.append((*shipment, _encode(one.cartons).decode()))
            for key, were in one.changed.items():
                if await _rename(connection, shipment, key, were):
                    merged.add((*shipment[:3], key))
        if newer:
            await connection.execute(query("store", "update_shipments"), *columns(newer))
    return [_under_its_key(message, found) for message in batch], frozenset(merged)


async def _rename(connection: Connection, shipment: Shipment, key: str, were: tuple[str, ...]) -> bool:
    """Put the documents of these keys under one. True if there was more than one, so that its versions must be worked
    out again."""
    names = sorted({key, *were})
    rows = await connection.fetch(query("store", "documents_of_keys"), *shipment[:3], names)
    if not rows:
        return False  # retention has forgotten them
    target, *others = [row["id"] for row in sorted(rows, key=lambda row: (row["key"] != key, row["id"]))]
    await connection.execute(query("store", "merge_documents"), target, others, key)
    return bool(others)


def _shipment(message: Incoming) -> Shipment:
    assert message.document is not None
    reading, about = message.document.reading, message.envelope
    return about.platform, about.account, reading.type, reading.scope or ""


def _under_its_key(message: Incoming, found: dict[Shipment, Resolved]) -> Incoming:
    if message.document is None or not message.document.reading.aliases:
        return message
    key = found[_shipment(message)].keys[message.document.reading.aliases[0]]
    if key == message.document.reading.key:
        return message
    reading = msgspec.structs.replace(message.document.reading, key=key)
    return msgspec.structs.replace(message, document=msgspec.structs.replace(message.document, reading=reading))
