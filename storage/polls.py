"""How far accounts have been polled, who polls them, and how often their API may be asked."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from storage.sql import query

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Anyone = Connection | asyncpg.Pool


class Lost(Exception):
    """Another worker polls for the account now: its lease had run out."""


class Place(msgspec.Struct, frozen=True):
    """Where a poll begins."""

    account: str
    cursor: datetime
    """Everything ordered before it has been published."""
    reached: datetime | None
    """The newest order of the last complete round; the next one moves the cursor there."""
    failures: int
    """Polls that failed since one went well."""


async def register(connection: Anyone, platform: str, accounts: Collection[str]) -> None:
    """Accounts not seen before begin now."""
    await connection.execute(query("polls", "register"), platform, list(accounts))


async def lease(
    connection: Anyone, platform: str, accounts: Collection[str], worker: UUID, seconds: float
) -> list[Place]:
    """Those of `accounts` that are due and nobody else's are `worker`'s for `seconds`."""
    rows = await connection.fetch(query("polls", "lease"), platform, list(accounts), worker, seconds)
    return [Place(row["account"], row["cursor"], row["reached"], row["failures"]) for row in rows]


async def renew(
    connection: Anyone, platform: str, accounts: Collection[str], worker: UUID, seconds: float
) -> frozenset[str]:
    """Those that are still `worker`'s, and are now for `seconds` more."""
    rows = await connection.fetch(query("polls", "renew"), platform, list(accounts), worker, seconds)
    return frozenset(row["account"] for row in rows)


async def known(connection: Anyone, platform: str, account: str) -> dict[bytes, bytes]:
    """Digests of content by digest of id, of the orders that were published and were listed last time."""
    return {row["key"]: row["digest"] for row in await connection.fetch(query("polls", "known"), platform, account)}


async def remember(
    connection: Connection, platform: str, account: str, worker: UUID, published: Mapping[bytes, bytes]
) -> None:
    """Orders that the broker has confirmed, as in `known`. Raises Lost."""
    async with connection.transaction():
        await _hold(connection, platform, account, worker)
        names = list(published), list(published.values())
        await connection.execute(query("polls", "remember"), platform, account, *names)


async def advance(
    connection: Connection,
    platform: str,
    account: str,
    worker: UUID,
    reached: datetime | None,
    gone: Collection[bytes],
) -> None:
    """After a complete round: `reached` is its newest order, `gone` what isn't listed any more. Raises Lost."""
    async with connection.transaction():
        await _hold(connection, platform, account, worker)
        await connection.execute(query("polls", "advance"), platform, account, reached)
        if gone:
            await connection.execute(query("polls", "forget"), platform, account, list(gone))


async def release(connection: Anyone, platform: str, accounts: Sequence[str], worker: UUID, seconds: float) -> None:
    """Gives back what couldn't be finished for no fault of the accounts; due again in `seconds`."""
    await connection.execute(query("polls", "release"), platform, accounts, worker, seconds)


async def succeeded(connection: Anyone, platform: str, account: str, worker: UUID, seconds: float) -> None:
    """Gives it back; due again in `seconds`."""
    await connection.execute(query("polls", "release_ok"), platform, account, worker, seconds)


async def failed(connection: Anyone, platform: str, account: str, worker: UUID, seconds: float, error: str) -> None:
    """Gives it back; due again in `seconds`. `error` is for the operator: no secret may be in it."""
    text = error.replace("\0", "\ufffd")[:500]
    await connection.execute(query("polls", "release_failed"), platform, account, worker, seconds, text)


async def successes(connection: Anyone, platform: str, accounts: Collection[str]) -> dict[str, datetime]:
    """When each account was last polled to the end."""
    rows = await connection.fetch(query("polls", "successes"), platform, list(accounts))
    return {row["account"]: row["ok_at"] for row in rows}


class Failing(msgspec.Struct, frozen=True):
    """An account whose last poll failed."""

    platform: str
    account: str
    failures: int
    """In a row."""
    error: str | None
    last_ok_at: datetime | None


async def failing(connection: Anyone) -> list[Failing]:
    """By name."""
    return [Failing(*row.values()) for row in await connection.fetch(query("polls", "failing"))]


async def reserve(connection: Anyone, client: bytes, interval: float, burst: int) -> float:
    """Takes the client's next turn; seconds until it comes."""
    return max(0.0, float(await connection.fetchval(query("polls", "reserve"), client, interval, burst) or 0.0))


async def pause(connection: Anyone, client: bytes, seconds: float) -> None:
    """No turn of the client comes before."""
    await connection.execute(query("polls", "pause"), client, seconds)


async def _hold(connection: Connection, platform: str, account: str, worker: UUID) -> None:
    if await connection.fetchval(query("polls", "hold"), platform, account, worker) is None:
        raise Lost(account)
