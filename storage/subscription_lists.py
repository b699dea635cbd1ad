"""What operators see of subscriptions: their settings without secrets, what waits, and the newest outcomes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from storage.database import Connection
from storage.delivery_lists import LastAttempt, last_attempt
from storage.sql import query

MOST_COUNTED = 1000
"""Deliveries of one subscription are counted up to here."""
OUTCOMES = 20
"""Number of newest outcomes."""
_END = datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription, without its secrets and without the query of its URL, which may contain some."""

    id: UUID
    subscriber: str
    url: str
    types: Sequence[str]
    accounts: Sequence[str]
    dialect: str
    webhook_type: str | None
    schedule: Sequence[float] | None
    max_rate: float | None
    max_in_flight: int
    filter: str | None
    """JSON of the filter; None if it has none."""
    payload: str
    """`full`, or `thin`: events are sent without their data, with a reference to them."""
    enabled: bool
    disabled_reason: str | None
    disabled_at: datetime | None
    """When it was last disabled; kept when it is enabled again."""
    enabled_at: datetime | None
    """When it was last enabled again; None while it is disabled and if it never was."""
    paused_until: datetime | None
    created_at: datetime
    updated_at: datetime


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for a subscription, and what became of the newest deliveries."""

    waiting: int
    """Counted up to one more than MOST_COUNTED."""
    failed: int | None = None
    """Counted likewise; None in lists."""
    next_attempt_at: datetime | None
    """When the next attempt is due, or since when; None if nothing waits."""
    outcomes: Sequence[str]
    """The statuses of the newest deliveries that were attempted or have ended, the oldest first."""
    last: LastAttempt | None
    """The newest attempt of the last of these."""
    failing_since: datetime | None
    """The first attempt after which none of these was delivered; None if the last of them was."""


class ListedSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription in a list."""

    settings: Settings
    backlog: Backlog


class Name(NamedTuple):
    """A subscription as a filter offers it."""

    id: UUID
    subscriber: str
    url: str


async def overview(
    connection: Connection,
    *,
    subscriber: str | None = None,
    enabled: bool | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int,
) -> list[ListedSubscription]:
    """Return subscriptions, newest first, with what waits for each."""
    rows = await connection.fetch(
        query("subscription_lists", "overview"),
        *(before or _END),
        limit,
        subscriber,
        enabled,
        MOST_COUNTED + 1,
        OUTCOMES,
    )
    return [ListedSubscription(settings=_settings(row), backlog=_backlog(row, None)) for row in rows]


async def get(connection: Connection, id_: UUID) -> Settings | None:
    """Return a subscription, or None if it does not exist or was deleted."""
    row = await connection.fetchrow(query("subscription_lists", "one"), id_)
    return None if row is None else _settings(row)


async def backlog(connection: Connection, id_: UUID) -> Backlog:
    """Return what waits for a subscription."""
    row = await connection.fetchrow(query("subscription_lists", "counts"), id_, MOST_COUNTED + 1, OUTCOMES)
    assert row is not None
    return _backlog(row, row["failed"])


async def names(connection: Connection, limit: int) -> list[Name]:
    """Return subscriptions by subscriber and URL."""
    return [Name(*row) for row in await connection.fetch(query("subscription_lists", "names"), limit)]


def _settings(row: asyncpg.Record) -> Settings:
    return Settings(**{name: row[name] for name in Settings.__struct_fields__})


def _backlog(row: asyncpg.Record, failed: int | None) -> Backlog:
    return Backlog(
        waiting=row["waiting"],
        failed=failed,
        next_attempt_at=row["next_attempt_at"],
        outcomes=row["outcomes"] or [],
        last=last_attempt(row),
        failing_since=row["failing_since"],
    )
