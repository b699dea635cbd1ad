"""How often each account's webhooks arrive, and which accounts have fallen silent."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from storage.database import Connection
from storage.sql import query

HOURS = 3
"""Minimum number of hours with messages before a limit is set; a single burst shows no regular activity."""
TIMES = 4.0
"""Silence counts as unusual only after this multiple of the usual time between messages."""
AT_LEAST = 900.0
"""Silence counts as unusual only after this many seconds."""


class ActivityCounts(msgspec.Struct):
    """The messages that one account sent in one hour."""

    count: int
    first_at: datetime
    last_at: datetime


class Activity(msgspec.Struct, frozen=True):
    """The activity of one account over two weeks; times are in seconds."""

    platform: str
    account: str
    last_at: datetime
    messages: int
    since: float
    """Time since the last message."""
    usual: float
    """Usual time between messages during active periods."""
    limit: float | None
    """Silence beyond this limit is unusual; None if too little is known.

    The limit is no shorter than any silence of the past two weeks, so that nights and weekends do not count as unusual.
    """

    @property
    def silence(self) -> bool:
        """Return whether the account has been silent for longer than its limit."""
        return self.limit is not None and self.since > self.limit


async def add(connection: Connection, rows: Sequence[tuple[str, str, datetime, int, datetime, datetime]]) -> None:
    """Add the counts of messages per account and hour to the stored ones.

    Each row holds platform, account, hour, count, and the times of the first and the last message. Raises asyncpg's
    errors.
    """
    if rows:
        await connection.execute(query("arrivals", "add"), *[list(column) for column in zip(*rows, strict=True)])


async def forget(connection: Connection, now: datetime) -> None:
    """Delete the counts that are too old at `now` to be used."""
    await connection.execute(query("arrivals", "forget"), now)


async def by_account(connection: Connection) -> list[Activity]:
    """Return the activity of every account that sent a message in the past two weeks."""
    return [
        Activity(
            platform=row["platform"],
            account=row["account"],
            last_at=row["last_at"],
            messages=row["messages"],
            since=row["since"],
            usual=row["usual"],
            limit=max(row["longest"], TIMES * row["usual"], AT_LEAST) if row["hours"] >= HOURS else None,
        )
        for row in await connection.fetch(query("arrivals", "by_account"))
    ]
