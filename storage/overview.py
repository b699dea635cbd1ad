"""What needs attention now, as the database has it: read by `crossdock status` and by the first page of the console."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from storage import activity, quarantine, transfers
from storage.activity import Activity
from storage.database import Connection
from storage.polls import FailingAccount
from storage.quarantine import StageCount
from storage.sql import query

CAP = 10_000
"""What the console counts to; beyond that it says `10,000+`."""
DISABLED = 20
"""Maximum number of disabled subscriptions that are listed."""
REFUSED = 5
"""Maximum number of subscriptions that are listed because their servers do not take what is sent."""
WAITING = 1000
"""What their deliveries are counted to."""
DISAGREEING = 1000
"""What transfers whose documents disagree are counted to."""
DISAGREEING_PERIOD = timedelta(days=7)
"""Transfers whose last activity was before that are not counted among them."""
REFUSED_AFTER = timedelta(minutes=2)
"""How long the oldest delivery has waited until its subscription is listed: the first attempts may fail."""
SLOT_HOURS = 4
SLOTS = 14 * 24 // SLOT_HOURS
"""A history has this many numbers, one per SLOT_HOURS hours of two weeks."""


class DeliveryCounts(msgspec.Struct, frozen=True):
    """Deliveries and subscriptions in numbers."""

    waiting: int
    due: int
    oldest_due_seconds: float | None
    """How long the oldest due delivery has been due; None if none is due."""
    failed_today: int
    """Deliveries that failed in the last 24 hours."""
    subscriptions: int
    disabled: int


class DisabledSubscription(msgspec.Struct, frozen=True):
    """A subscription to which nothing is sent."""

    id: UUID
    subscriber: str
    """Its name in the configuration; empty for one of the operators' own."""
    url: str
    """Without its query, which may contain a secret."""
    reason: str | None
    """Why a worker disabled it; None if a person did."""
    updated_at: datetime


class RefusedSubscription(msgspec.Struct, frozen=True):
    """A subscription whose oldest delivery has waited for a while and been tried in vain."""

    id: UUID
    subscriber: str
    url: str
    """Without its query, which may contain a secret."""
    waiting: int
    """Deliveries that wait for it, counted up to WAITING + 1."""
    attempts: int
    """Attempts of the oldest."""
    oldest_seconds: float
    """How long the oldest has waited."""
    outcome: str | None
    """What came of its last attempt, as in the view `delivery_attempts`."""
    status_code: int | None
    error: str | None


class AccountActivity(msgspec.Struct, frozen=True):
    """How often one account's webhooks arrive."""

    platform: str
    account: str
    last_at: datetime
    messages: int
    since_seconds: float
    usual_seconds: float
    limit_seconds: float | None
    quiet: bool


class AccountHistory(msgspec.Struct, frozen=True):
    """The messages of one account in two weeks."""

    day: int
    """Messages of the last 24 hours, to the hour."""
    slots: Sequence[int]
    """SLOTS numbers of messages, the oldest first."""


class TransferCounts(msgspec.Struct, frozen=True):
    """Late stock transfers, and how current their view is."""

    late: dict[str, int]
    """Number of late transfers by account, of those that have any."""
    longest_seconds: float
    """Seconds since the oldest of them was due; 0 if there are none."""
    behind_seconds: float
    """Seconds by which the view is behind the stored documents."""
    filled: float
    """Part of the documents from before an upgrade that the view covers, from 0 to 1."""


class Disagreements(msgspec.Struct, frozen=True):
    """Transfers of the last days whose documents disagree."""

    transfers: int
    """Counted up to DISAGREEING + 1."""
    flags: dict[str, int]
    """In how many of them something disagrees, by the flag, the most frequent first."""


class PollTimes(msgspec.Struct, frozen=True):
    """When an account was polled in vain, and when it is polled again."""

    failed_at: datetime | None
    """None if that was before the upgrade to the release that keeps it."""
    due_at: datetime


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What the database has to say about the state of the pipeline."""

    deliveries: DeliveryCounts
    quarantine: dict[str, StageCount]
    """Messages that wait for a person, by stage."""
    disabled: Sequence[DisabledSubscription]
    """The subscriptions that were disabled last, at most DISABLED."""
    refused: Sequence[RefusedSubscription]
    """Subscriptions whose servers do not take what is sent, at most REFUSED, those that wait for longest first."""
    consumers: Sequence[str]
    """Names of the systems that have a queue of their own."""
    transfers: TransferCounts
    accounts: Sequence[AccountActivity]
    """Every account that sent something in two weeks."""
    failing_polls: Sequence[FailingAccount]
    poll_times: dict[tuple[str, str], PollTimes] = {}
    """Of the accounts whose polls fail, by platform and account."""
    disagreements: Disagreements = Disagreements(0, {})


async def read(connection: Connection, *, limit: int | None = None) -> Overview:
    """Return the state in five statements. Nothing is counted beyond `limit`; None counts everything.

    Raises asyncpg's errors.
    """
    counts = await connection.fetchrow(
        query("overview", "counts"), limit, list(quarantine.STAGES), DISABLED, DISAGREEING + 1, DISAGREEING_PERIOD
    )
    assert counts is not None
    off = ("ids", "subscribers", "urls", "reasons", "times")
    polled = ("platforms", "accounts", "failures", "errors", "ok_times")
    times = ("platforms", "accounts", "failed_times", "due_times")
    flags = dict(zip(counts["flags"] or (), counts["transfers"] or (), strict=True))
    return Overview(
        deliveries=DeliveryCounts(*(counts[name] for name in DeliveryCounts.__struct_fields__)),
        quarantine={
            stage: StageCount(messages, max(0.0, oldest_seconds or 0.0))
            for stage, messages, oldest_seconds in zip(
                quarantine.STAGES, counts["messages"], counts["oldest_seconds"], strict=True
            )
        },
        disabled=[DisabledSubscription(*row) for row in zip(*(counts[name] or () for name in off), strict=True)],
        refused=[
            RefusedSubscription(**row)
            for row in await connection.fetch(query("overview", "refused"), REFUSED_AFTER, REFUSED, WAITING + 1)
        ],
        consumers=counts["consumers"] or [],
        transfers=await _transfers(connection, limit),
        accounts=[_activity(row) for row in await activity.by_account(connection)],
        failing_polls=[FailingAccount(*row) for row in zip(*(counts[name] or () for name in polled), strict=True)],
        poll_times={
            (platform, account): PollTimes(failed_at, due_at)
            for platform, account, failed_at, due_at in zip(*(counts[name] or () for name in times), strict=True)
        },
        disagreements=Disagreements(flags.pop("", 0), flags),
    )


async def history(connection: Connection) -> dict[tuple[str, str], AccountHistory]:
    """Return the messages of every account in two weeks, by platform and account. Raises asyncpg's errors."""
    histories = {}
    for row in await connection.fetch(query("overview", "history"), SLOT_HOURS):
        slots = [0] * SLOTS
        for slot, count in zip(row["slots"], row["counts"], strict=True):
            slots[SLOTS - 1 - min(slot, SLOTS - 1)] += count
        histories[row["platform"], row["account"]] = AccountHistory(row["day"], slots)
    return histories


async def watermark(connection: Connection) -> str:
    """Return a text that is the same for as long as no transaction has changed anything. Raises asyncpg's errors."""
    return str(await connection.fetchval(query("overview", "watermark")))


async def _transfers(connection: Connection, limit: int | None) -> TransferCounts:
    late = await connection.fetch(query("overview", "late"), limit)
    progress = await transfers.progress(connection)
    return TransferCounts(
        {row["account"]: row["transfers"] for row in late},
        max((row["longest_seconds"] for row in late), default=0.0),
        progress.behind_seconds,
        progress.filled,
    )


def _activity(row: Activity) -> AccountActivity:
    return AccountActivity(
        platform=row.platform,
        account=row.account,
        last_at=row.last_at,
        messages=row.messages,
        since_seconds=round(row.since, 1),
        usual_seconds=round(row.usual, 3),
        limit_seconds=row.limit,
        quiet=row.silence,
    )
