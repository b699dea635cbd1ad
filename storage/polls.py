"""How far each account has been polled, which worker polls it, and how often its API may be called."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from storage.database import Connection
from storage.sql import query

Anyone = Connection | asyncpg.Pool


class LeaseLostError(Exception):
    """The lease has expired and another worker now polls the account."""


class Place(msgspec.Struct, frozen=True):
    """Where the next poll of an account starts."""

    account: str
    cursor: datetime
    """All orders placed before this time have been published."""
    reached: datetime | None
    """The newest order of the last complete round; the next complete round moves the cursor there."""
    failures: int
    """Number of failed polls since the last success."""


async def register(connection: Anyone, platform: str, accounts: Collection[str]) -> None:
    """Register accounts; those that are new start at the present time."""
    await connection.execute(query("polls", "register"), platform, list(accounts))


async def lease(
    connection: Anyone, platform: str, accounts: Collection[str], worker: UUID, seconds: float
) -> list[Place]:
    """Lease those of `accounts` that are due and not leased by another worker, for `seconds`."""
    rows = await connection.fetch(query("polls", "lease"), platform, list(accounts), worker, seconds)
    return [Place(row["account"], row["cursor"], row["reached"], row["failures"]) for row in rows]


async def renew(
    connection: Anyone, platform: str, accounts: Collection[str], worker: UUID, seconds: float
) -> frozenset[str]:
    """Extend the leases that `worker` still holds by `seconds` from now; return their accounts."""
    rows = await connection.fetch(query("polls", "renew"), platform, list(accounts), worker, seconds)
    return frozenset(row["account"] for row in rows)


async def known(connection: Anyone, platform: str, account: str) -> dict[bytes, bytes]:
    """Return the orders that were published and still listed: digests of their content by digest of their id."""
    return {row["key"]: row["digest"] for row in await connection.fetch(query("polls", "known"), platform, account)}


async def remember(
    connection: Connection, platform: str, account: str, worker: UUID, published: Mapping[bytes, bytes]
) -> None:
    """Record orders that the broker has confirmed, in the format of `known`; raises LeaseLostError."""
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
    """Record a complete round: `reached` is its newest order, `gone` are orders no longer listed.

    Raises LeaseLostError if another worker has taken over the account.
    """
    async with connection.transaction():
        await _hold(connection, platform, account, worker)
        await connection.execute(query("polls", "advance"), platform, account, reached)
        if gone:
            await connection.execute(query("polls", "forget"), platform, account, list(gone))


async def release(connection: Anyone, platform: str, accounts: Sequence[str], worker: UUID, seconds: float) -> None:
    """Release accounts whose polls could not be finished for other reasons; they are due again in `seconds`."""
    await connection.execute(query("polls", "release"), platform, accounts, worker, seconds)


async def succeeded(connection: Anyone, platform: str, account: str, worker: UUID, seconds: float) -> None:
    """Release an account after a successful poll; it is due again in `seconds`."""
    await connection.execute(query("polls", "release_ok"), platform, account, worker, seconds)


async def failed(connection: Anyone, platform: str, account: str, worker: UUID, seconds: float, error: str) -> None:
    """Release an account after a failed poll; it is due again in `seconds`.

    `error` is shown to operators and must not contain secrets.
    """
    text = error.replace("\0", "\ufffd")[:500]
    await connection.execute(query("polls", "release_failed"), platform, account, worker, seconds, text)


async def successes(connection: Anyone, platform: str, accounts: Collection[str]) -> dict[str, datetime]:
    """Return when each account was last polled successfully, or first registered if it never was."""
    rows = await connection.fetch(query("polls", "successes"), platform, list(accounts))
    return {row["account"]: row["ok_at"] for row in rows}


class FailingAccount(msgspec.Struct, frozen=True):
    """An account whose last poll failed."""

    platform: str
    account: str
    failures: int
    """Number of consecutive failures."""
    error: str | None
    last_ok_at: datetime | None


async def reserve(connection: Anyone, client: bytes, interval: float, burst: int) -> float:
    """Reserve the next request of an API client; return the seconds to wait for it.

    `interval`: seconds between requests. `burst`: number of requests that may follow each other at once after a pause.
    """
    return max(0.0, float(await connection.fetchval(query("polls", "reserve"), client, interval, burst) or 0.0))


async def pause(connection: Anyone, client: bytes, seconds: float) -> None:
    """Postpone the next request of an API client by at least `seconds`."""
    await connection.execute(query("polls", "pause"), client, seconds)


async def _hold(connection: Connection, platform: str, account: str, worker: UUID) -> None:
    if await connection.fetchval(query("polls", "hold"), platform, account, worker) is None:
        raise LeaseLostError(account)
