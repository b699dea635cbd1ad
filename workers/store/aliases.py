"""Documents that are recognised by any of several identifiers: the cartons of a shipment.

A platform may send "the newest copy" of a carton, and copies differ in which identifiers they have. So what is known of
each shipment's cartons is kept (`crossdock.shipments`), and a message belongs to the carton that it shares an
identifier with. A message may show that two cartons are the same: then their documents are merged. A carton's key is
the best identifier that any of its copies had, so that any order of arrival leads to the same documents.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import msgspec

from schemas.platform import alias_key
from storage import identifiers
from storage.database import Connection
from storage.sql import query
from workers.store.ids import DocumentKey
from workers.store.prepare import Incoming
from workers.store.rows import columns, execute

Shipment = tuple[str, str, str, str]
"""Platform, account, event type and scope."""

_encode = msgspec.json.Encoder().encode


class Carton(msgspec.Struct, frozen=True):
    """One carton of a shipment, as it is stored."""

    key: str
    aliases: tuple[str, ...]
    """Sorted: the best comes first."""


_decode = msgspec.json.Decoder(tuple[Carton, ...]).decode


class Resolved(msgspec.Struct, frozen=True):
    """The cartons of a shipment, including those that the batch's messages add."""

    cartons: tuple[Carton, ...]
    keys: dict[str, str]
    """Carton key by alias."""
    changed: dict[str, tuple[str, ...]]
    """New key → the earlier keys of this carton, for cartons whose earlier keys are not just the new one."""


class _Sets:
    """Disjoint sets of names (union-find); the root of each set is its smallest name."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def root(self, name: str) -> str:
        parents = self._parents
        while parents[name] != name:
            parents[name] = name = parents[parents[name]]
        return name

    def join(self, names: Sequence[str]) -> None:
        """Make these names members of the same set."""
        for name in names:
            self._parents.setdefault(name, name)
        first = self.root(names[0])
        for name in names[1:]:
            other = self.root(name)
            if other != first:
                first, other = min(first, other), max(first, other)
                self._parents[other] = first

    def members(self) -> dict[str, list[str]]:
        """Return the names of each set by its root."""
        members: dict[str, list[str]] = {}
        for name in self._parents:
            members.setdefault(self.root(name), []).append(name)
        return members


def resolve(scope: str, known: Iterable[Carton], messages: Iterable[tuple[str, ...]]) -> Resolved:
    """Join everything that shares an alias. Each of `messages` holds the aliases of one message."""
    sets = _Sets()
    stored = list(known)
    for carton in stored:
        sets.join(carton.aliases)
    for aliases in messages:
        sets.join(aliases)
    earlier_keys: dict[str, list[str]] = {}
    for carton in stored:
        earlier_keys.setdefault(sets.root(carton.aliases[0]), []).append(carton.key)
    cartons: list[Carton] = []
    keys: dict[str, str] = {}
    changed: dict[str, tuple[str, ...]] = {}
    for root, names in sets.members().items():
        carton = Carton(alias_key(scope, min(names)), tuple(sorted(names)))
        cartons.append(carton)
        keys |= dict.fromkeys(names, carton.key)
        earlier = tuple(earlier_keys.get(root, ()))
        if earlier not in ((), (carton.key,)):
            changed[carton.key] = earlier
    return Resolved(tuple(sorted(cartons, key=lambda carton: carton.key)), keys, changed)


async def recognise(
    connection: Connection, batch: Sequence[Incoming]
) -> tuple[Sequence[Incoming], frozenset[DocumentKey]]:
    """Return the batch with each message under its document's key, and the documents that others were merged into.

    Locks the shipments, so that two workers never create two documents of one carton. To be called within the batch's
    transaction, before its documents are locked. Raises asyncpg's errors.
    """
    aliases: dict[Shipment, list[tuple[str, ...]]] = {}
    for message in batch:
        if message.document is not None and message.document.reading.aliases:
            aliases.setdefault(_shipment(message), []).append(message.document.reading.aliases)
    if not aliases:
        return batch, frozenset()
    resolved = {shipment: resolve(shipment[3], (), names) for shipment, names in sorted(aliases.items())}
    rows = [_shipment_row(shipment, cartons.cartons) for shipment, cartons in resolved.items()]
    created = {tuple(row) for row in await connection.fetch(query("store", "claim_shipments"), *columns(rows))}
    existing = [shipment for shipment in resolved if shipment not in created]
    merged: set[DocumentKey] = set()
    if existing:
        changed: list[tuple[str, ...]] = []
        for row in await connection.fetch(query("store", "read_locked_shipments"), *columns(existing)):
            shipment, known = (row["platform"], row["account"], row["type"], row["shipment"]), _decode(row["cartons"])
            cartons = resolved[shipment] = resolve(shipment[3], known, aliases[shipment])
            if cartons.cartons != known:
                changed.append(_shipment_row(shipment, cartons.cartons))
            for key, earlier in cartons.changed.items():
                if await _rename(connection, shipment, key, earlier):
                    merged.add((*shipment[:3], key))
        await execute(connection, "update_shipments", changed)
    return [_with_key(message, resolved) for message in batch], frozenset(merged)


async def _rename(connection: Connection, shipment: Shipment, key: str, earlier: tuple[str, ...]) -> bool:
    """Put the documents of the earlier keys under a new one.

    Return whether there was more than one document, so that the versions must be derived again.
    """
    names = sorted({key, *earlier})
    rows = await connection.fetch(query("store", "documents_of_keys"), *shipment[:3], names)
    if not rows:
        return False  # retention has dropped them
    target, *others = [row["id"] for row in sorted(rows, key=lambda row: (row["key"] != key, row["id"]))]
    await connection.execute(query("store", "merge_documents"), target, others, key)
    if others:
        await connection.execute(query("store", "move_erased_contents"), target, others)
        await connection.execute(query("identifiers", "move"), target, others)
    # Events were announced under the earlier keys: whoever knows the carton by one of these still finds it.
    # They have a time of their own, so that the back-fill does not take them for what it files of a version.
    former_keys = {row["key"] for row in rows if row["key"] != key}
    moment = max(row["received_at"] for row in rows) + timedelta(microseconds=1)
    await identifiers.insert(connection, [(target, moment, former_keys, ())])
    return bool(others)


def _shipment_row(shipment: Shipment, cartons: tuple[Carton, ...]) -> tuple[str, ...]:
    return (*shipment, _encode(cartons).decode())


def _shipment(message: Incoming) -> Shipment:
    assert message.document is not None
    reading, envelope = message.document.reading, message.envelope
    return envelope.platform, envelope.account, reading.type, reading.scope or ""


def _with_key(message: Incoming, resolved: Mapping[Shipment, Resolved]) -> Incoming:
    """Return the message under the key of the carton that it belongs to."""
    if message.document is None or not message.document.reading.aliases:
        return message
    key = resolved[_shipment(message)].keys[message.document.reading.aliases[0]]
    if key == message.document.reading.key:
        return message
    reading = msgspec.structs.replace(message.document.reading, key=key)
    return msgspec.structs.replace(message, document=msgspec.structs.replace(message.document, reading=reading))
