"""Subscriptions as database rows.

Look-ups include the subscriber: a subscription of another subscriber does not exist for them.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from storage import sealed
from storage.database import Connection
from storage.sql import query
from storage.vault import UndecryptableError, Vault

ANSWERS_AT_A_TIME = 500
"""Number of stored answers that are read at a time."""


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription, without the columns that only workers need."""

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
    filter: str | None = None
    """JSON of the filter (`schemas.filters`)."""
    payload: str = "full"
    """`thin`: events are sent without their data, with a reference to them."""
    sealed: bytes
    created_at: datetime | None = None
    updated_at: datetime | None = None
    disabled_at: datetime | None = None
    """When it was last disabled; kept when it is enabled again."""
    enabled_at: datetime | None = None
    """When it was last enabled again; None while it is disabled and if it never was."""

    def __repr__(self) -> str:
        return f"Subscription({self.id})"


async def create(connection: Connection, subscription: Subscription) -> Subscription:
    """Create a subscription and return it as stored; raises asyncpg's errors."""
    row = await connection.fetchrow(
        query("subscriptions", "create"),
        subscription.id,
        subscription.subscriber,
        subscription.url,
        subscription.types,
        subscription.accounts,
        subscription.dialect,
        subscription.webhook_type,
        subscription.query_key,
        subscription.schedule,
        subscription.max_rate,
        subscription.max_in_flight,
        subscription.enabled,
        subscription.sealed,
        subscription.filter,
        subscription.payload,
    )
    assert row is not None
    return _of(row)


async def get(
    connection: Connection, id_: UUID, subscriber: str | None, *, lock: bool = False, share: bool = False
) -> Subscription | None:
    """Return a subscription, or None if it does not exist or belongs to another subscriber.

    `subscriber` None includes all subscribers. `lock`: lock the row to change it. `share`: prevent changes and deletion
    until the end of the transaction.
    """
    row = await connection.fetchrow(
        query("subscriptions", "lock" if lock else "share" if share else "get"), id_, subscriber
    )
    return None if row is None else _of(row)


async def count(connection: Connection, subscriber: str) -> int:
    """Return the number of a subscriber's subscriptions; none can be added until the transaction ends."""
    await connection.execute(query("subscriptions", "lock_quota"), subscriber)
    subscriptions: int = await connection.fetchval(query("subscriptions", "count"), subscriber)
    return subscriptions


async def listing(
    connection: Connection,
    subscriber: str | None,
    *,
    after: tuple[datetime, UUID] | None,
    limit: int,
    basic: bool | None = None,
) -> list[Subscription]:
    """Return subscriptions, oldest first; `basic` selects those of /basic/webhooks, or all others."""
    place = after or (None, None)
    rows = await connection.fetch(query("subscriptions", "listing"), subscriber, *place, limit, basic)
    return [_of(row) for row in rows]


async def update(connection: Connection, subscription: Subscription) -> Subscription:
    """Write the changes, in the transaction that locked the row, and notify the workers at once."""
    row = await connection.fetchrow(
        query("subscriptions", "update"),
        subscription.id,
        subscription.url,
        subscription.types,
        subscription.accounts,
        subscription.dialect,
        subscription.webhook_type,
        subscription.query_key,
        subscription.schedule,
        subscription.max_rate,
        subscription.max_in_flight,
        subscription.enabled,
        subscription.disabled_reason,
        subscription.sealed,
        subscription.filter,
        subscription.payload,
    )
    await connection.execute(query("subscriptions", "changed"))
    assert row is not None
    return _of(row)


async def delete(connection: Connection, id_: UUID) -> None:
    """Delete a subscription and cancel its waiting deliveries, in the transaction that locked the row."""
    await connection.execute(query("subscriptions", "delete"), id_)
    # Waits for a replay piece that is being written; its deliveries are then cancelled together with the others.
    await connection.execute(query("subscriptions", "end_replays"), id_)
    await connection.execute(query("subscriptions", "cancel_waiting"), id_)
    await connection.execute(query("subscriptions", "changed"))


async def reseal(connection: Connection, vault: Vault) -> int:
    """Encrypt subscriptions and stored answers of other keys with the vault's first key; return how many.

    Values that no key can decrypt are left as they are; reading them raises UndecryptableError.
    """
    done = 0
    for row in await connection.fetch(query("subscriptions", "sealed")):
        if vault.needs_rotation(row["sealed"]):
            try:
                anew = sealed.seal(vault, row["id"], sealed.unseal(vault, row["id"], row["sealed"]))
            except UndecryptableError:
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
            owner = answer_owner(row["subscriber"], row["name"])
            try:
                anew = vault.encrypt(vault.decrypt(row["sealed"], owner), owner)
            except UndecryptableError:
                continue
            await connection.execute(
                query("subscriptions", "reseal_answer"), row["subscriber"], row["name"], row["sealed"], anew
            )
            done += 1
        if len(rows) < ANSWERS_AT_A_TIME:
            return done
        place = (rows[-1]["subscriber"], rows[-1]["name"])


async def count_answers_with_old_key(connection: Connection, vault: Vault) -> int:
    """Return how many stored answers are encrypted with another key than the vault's first."""
    answers: int = await connection.fetchval(query("subscriptions", "count_answers_sealed_otherwise"), vault.prefix)
    return answers


async def any_answers(connection: Connection) -> bool:
    """Return whether any answers to requests with an Idempotency-Key are stored."""
    return bool(await connection.fetchval(query("subscriptions", "any_answers")))


def answer_owner(owner: str, name: str) -> bytes:
    """Return what the stored answer of an Idempotency-Key is cryptographically bound to."""
    return f"{owner}\n{name}".encode()


def _of(row: asyncpg.Record) -> Subscription:
    return Subscription(**{name: row[name] for name in Subscription.__struct_fields__})
