"""How often each account's webhooks come, and which account has fallen silent."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from storage.sql import query

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

HOURS = 3
"""With messages, before anything counts as usual: a single burst is no rhythm."""
TIMES = 4.0
"""The usual time between messages, before silence is worth a word."""
AT_LEAST = 900.0
"""Seconds; likewise."""


class Arrivals(msgspec.Struct):
    """Of one account in one hour."""

    count: int
    first_at: datetime
    last_at: datetime


class Rhythm(msgspec.Struct, frozen=True):
    """Of one account, over two weeks. Times in seconds."""

    platform: str
    account: str
    last_at: datetime
    messages: int
    since: float
    """Since the last message."""
    usual: float
    """Between messages, while they come."""
    limit: float | None
    """The silence from which on it is unusual: longer than any in two weeks, nights and weekends among them. None
    while too little is known."""

    @property
    def quiet(self) -> bool:
        """Whether it should have said something by now."""
        return self.limit is not None and self.since > self.limit


async def add(connection: Connection, rows: Sequence[tuple[str, str, datetime, int, datetime, datetime]]) -> None:
    """Platform, account, hour, how many, the first, the last. Counts up. Raises asyncpg's errors."""
    if rows:
        await connection.execute(query("arrivals", "add"), *[list(column) for column in zip(*rows, strict=True)])


async def forget(connection: Connection) -> None:
    """What is too old to count."""
    await connection.execute(query("arrivals", "forget"))


async def rhythm(connection: Connection) -> list[Rhythm]:
    """Of every account that was heard of in two weeks."""
    return [
        Rhythm(
            platform=row["platform"],
            account=row["account"],
            last_at=row["last_at"],
            messages=row["messages"],
            since=row["since"],
            usual=row["usual"],
            limit=max(row["longest"], TIMES * row["usual"], AT_LEAST) if row["hours"] >= HOURS else None,
        )
        for row in await connection.fetch(query("arrivals", "rhythm"))
    ]
