"""Subscriptions, as rows. Whose they are is part of every look-up: somebody else's doesn't exist."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from storage import sealed
from storage.sql import query
from storage.vault import Undecryptable, Vault

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

ANSWERS_AT_A_TIME = 500
"""Filed answers that are read at a time."""


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One row, without what only workers need."""

    id: UUID
    subscriber: str
    url: str
    types: Sequence[str]
    accounts: Sequence[str]
    dialect: str
    webhook_type: str | None = None
    query_key: str | None = None
    schedule: Sequence[float] | None = None
    max_rate: float | None = None
    max_in_flight: int
    enabled: bool = True
    disabled_reason: str | None = None
    sealed: bytes
    created_at: datetime | None = None
    updated_at: datetime | None = None
    disabled_at: datetime | None = None
    """When it was last disabled; kept when it is enabled again."""
    enabled_at: datetime | None = None
    """When it was last enabled again; None while it is disabled."""

    def __repr__(self) -> str:
        return f"Subscription({self.id})"


async def create(connection: Connection, one: Subscription) -> Subscription:
    """As it stands in the table then. Raises asyncpg's errors."""
    row = await connection.fetchrow(
        query("subscriptions", "create"),
        one.id,
        one.subscriber,
        one.url,
        one.types,
        one.accounts,
        one.dialect,
        one.webhook_type,
        one.query_key,
        one.schedule,
        one.max_rate,
        one.max_in_flight,
        one.enabled,
        one.sealed,
    )
    assert row is not None
    return _of(row)


async def get(
    connection: Connection, id_: UUID, subscriber: str | None, *, lock: bool = False, share: bool = False
) -> Subscription | None:
    """None if there is none, or it is not `subscriber`'s; `subscriber` None sees all.

    `lock`: to be changed. `share`: it is neither changed nor deleted before the end of the transaction.
    """
    row = await connection.fetchrow(
        query("subscriptions", "lock" if lock else "share" if share else "get"), id_, subscriber
    )
    return None if row is None else _of(row)


async def count(connection: Connection, subscriber: str) -> int:
    """Return how many subscriptions a subscriber has. None is added until the end of the transaction."""
    await connection.execute(query("subscriptions", "lock_quota"), subscriber)
    found: int = await connection.fetchval(query("subscriptions", "count"), subscriber)
    return found


async def listing(
    connection: Connection,
    subscriber: str | None,
    *,
    after: tuple[datetime, UUID] | None,
    limit: int,
    basic: bool | None = None,
) -> list[Subscription]:
    """The oldest first. `basic`: only those of /basic/webhooks, or only others."""
    place = after or (None, None)
    rows = await connection.fetch(query("subscriptions", "listing"), subscriber, *place, limit, basic)
    return [_of(row) for row in rows]


async def update(connection: Connection, one: Subscription) -> Subscription:
    """Writes it, in the transaction that locked it. Workers go by it at once."""
    row = await connection.fetchrow(
        query("subscriptions", "update"),
        one.id,
        one.url,
        one.types,
        one.accounts,
        one.dialect,
        one.webhook_type,
        one.query_key,
        one.schedule,
        one.max_rate,
        one.max_in_flight,
        one.enabled,
        one.disabled_reason,
        one.sealed,
    )
    await connection.execute(query("subscriptions", "changed"))
    assert row is not None
    return _of(row)


async def delete(connection: Connection, id_: UUID) -> None:
    """With what waits for it: cancelled. In the transaction that locked it."""
    await connection.execute(query("subscriptions", "delete"), id_)
    # Waits for a piece of a replay that is being written, whose deliveries are then cancelled with the others.
    await connection.execute(query("subscriptions", "end_replays"), id_)
    await connection.execute(query("subscriptions", "cancel_waiting"), id_)
    await connection.execute(query("subscriptions", "changed"))


async def reseal(connection: Connection, vault: Vault) -> int:
    """Seal with the vault's first key what another key sealed: subscriptions and filed answers. Return how many.

    What no key opens is left as it is: whoever needs it is told.
    """
    done = 0
    for row in await connection.fetch(query("subscriptions", "sealed")):
        if vault.needs_rotation(row["sealed"]):
            try:
                anew = sealed.seal(vault, row["id"], sealed.unseal(vault, row["id"], row["sealed"]))
            except Undecryptable:
                continue
            await connection.execute(query("subscriptions", "reseal"), row["id"], row["sealed"], anew)
            done += 1
    return done + await _reseal_answers(connection, vault)


async def _reseal_answers(connection: Connection, vault: Vault) -> int:
    done = 0
    place = ("", "")
    while True:
        rows = await connection.fetch(
            query("subscriptions", "answers_sealed_otherwise"), vault.prefix, *place, ANSWERS_AT_A_TIME
        )
        for row in rows:
            about = answer_owner(row["subscriber"], row["name"])
            try:
                anew = vault.encrypt(vault.decrypt(row["sealed"], about), about)
            except Undecryptable:
                continue
            await connection.execute(
                query("subscriptions", "reseal_answer"), row["subscriber"], row["name"], row["sealed"], anew
            )
            done += 1
        if len(rows) < ANSWERS_AT_A_TIME:
            return done
        place = (rows[-1]["subscriber"], rows[-1]["name"])


async def count_answers_with_old_key(connection: Connection, vault: Vault) -> int:
    """Return how many filed answers another key than the vault's first has sealed."""
    found: int = await connection.fetchval(query("subscriptions", "count_answers_sealed_otherwise"), vault.prefix)
    return found


async def any_answers(connection: Connection) -> bool:
    """Return whether there are filed answers of requests with an Idempotency-Key."""
    return bool(await connection.fetchval(query("subscriptions", "any_answers")))


def answer_owner(owner: str, name: str) -> bytes:
    """Return what the filed answer of an Idempotency-Key is bound to."""
    return f"{owner}\n{name}".encode()


def _of(row: asyncpg.Record) -> Subscription:
    return Subscription(**{name: row[name] for name in Subscription.__struct_fields__})
