"""Actions on many things: stored when an operator confirms, and worked off piece by piece by any console process.

Each piece and its progress are one transaction, so that a process that dies leaves nothing half done and nothing done
twice. The filter is frozen: what begins to match after the confirmation does not belong to it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import asyncpg
import msgspec

from storage import actions
from storage.actions import Actor
from storage.database import Connection
from storage.deliveries import Selection
from storage.quarantine import Selection as QuarantineSelection
from storage.sql import query

Kind = Literal["deliveries.retry", "deliveries.cancel", "quarantine.replay", "quarantine.discard"]
MOST_OPEN = 100
"""Maximum number of unfinished jobs that are looked at."""


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a job acts on: exactly one of these."""

    ids: Sequence[UUID] | None = None
    """The rows that were ticked, sorted."""
    deliveries: Selection | None = None
    quarantine: QuarantineSelection | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """An action on many things."""

    id: UUID
    created_at: datetime
    operator: str
    role: str
    address: str
    action: Kind
    subject: str
    """What it acts on, in words."""
    note: str | None
    filter: Filter
    total: int
    is_exact: bool
    """Whether `total` is exact; otherwise counting stopped at it."""
    done: int
    failed: int
    problem: str | None
    """The newest reason why something failed."""
    waits: str | None
    """Why it does not go on at present."""
    after_at: datetime | None
    after_id: UUID | None
    try_first: bool
    """Whether the next delivery has to arrive before all others are sent."""
    tried_id: UUID | None
    tried_attempts: int | None
    tried_at: datetime | None
    touched_at: datetime
    stop_asked: bool
    finished_at: datetime | None
    outcome: str | None
    now: datetime
    """The database's time when this was read."""

    @property
    def actor(self) -> Actor:
        """The operator who started it."""
        return Actor(self.operator, self.role, self.address)

    @property
    def after(self) -> tuple[datetime, UUID] | None:
        """The last thing that was examined."""
        return None if self.after_at is None or self.after_id is None else (self.after_at, self.after_id)

    @property
    def seconds(self) -> float:
        """For how long it has run."""
        return ((self.finished_at or self.now) - self.created_at).total_seconds()

    @property
    def per_second(self) -> float:
        """How many things it handles per second."""
        return (self.done + self.failed) / max(self.seconds, 1.0)


async def create(
    connection: Connection,
    actor: Actor,
    action: Kind,
    *,
    id_: UUID,
    filter_: Filter,
    subject: str,
    total: int,
    is_exact: bool,
    note: str | None = None,
    try_first: bool = False,
) -> bool:
    """Store a job and record that it was started; return False if it exists, because its form was sent twice."""
    is_new = await connection.fetchval(
        query("jobs", "create"),
        id_,
        actor.operator,
        actor.role,
        actor.address,
        action,
        subject[: actions.LONGEST],
        None if note is None else note[: actions.LONGEST],
        msgspec.json.encode(filter_).decode(),
        total,
        is_exact,
        try_first,
    )
    if is_new:
        await actions.record(connection, actor, action, subject=subject, count=total, note=note, outcome="started")
    return bool(is_new)


async def exists(connection: Connection, id_: UUID) -> bool:
    """Return whether a job was started."""
    return bool(await connection.fetchval(query("jobs", "exists"), id_))


async def open_ids(connection: Connection) -> list[UUID]:
    """Return the ids of unfinished jobs, in the order in which to work on them."""
    return [row["id"] for row in await connection.fetch(query("jobs", "open"), MOST_OPEN)]


async def take(connection: Connection, id_: UUID) -> Job | None:
    """Return an unfinished job for the length of this transaction, or None if another process works on it."""
    if not await connection.fetchval(query("jobs", "lock"), str(id_)):
        return None
    return _job(await connection.fetchrow(query("jobs", "take"), id_))


async def is_stop_asked(connection: Connection, job: Job) -> bool:
    """Return whether an operator has asked for the end of a job since it was taken."""
    return bool(await connection.fetchval(query("jobs", "stop_asked"), job.id))


async def running(connection: Connection) -> list[Job]:
    """Return the unfinished jobs, the oldest first."""
    return _jobs(await connection.fetch(query("jobs", "running"), MOST_OPEN))


async def newest(connection: Connection, limit: int) -> list[Job]:
    """Return jobs, the newest first."""
    return _jobs(await connection.fetch(query("jobs", "newest"), limit))


async def advance(
    connection: Connection,
    job: Job,
    *,
    done: int,
    failed: int,
    after: tuple[datetime, UUID] | None,
    problem: str | None = None,
) -> None:
    """Store the progress of a piece, in the piece's transaction. `problem`: why something failed."""
    await connection.execute(
        query("jobs", "advance"), job.id, done, failed, problem, *(after or (job.after_at, job.after_id))
    )


async def try_delivery(connection: Connection, job: Job, id_: UUID | None, attempts: int | None) -> None:
    """Remember the delivery that is tried first and its attempts so far; None if the next one is to be tried."""
    await connection.execute(query("jobs", "try"), job.id, id_, attempts)


async def go_on(connection: Connection, job: Job) -> None:
    """Go on with all others, because the delivery that was tried first has arrived."""
    await connection.execute(query("jobs", "go_on"), job.id)


async def wait(connection: Connection, id_: UUID, why: str) -> None:
    """Store why a job does not go on at present."""
    await connection.execute(query("jobs", "wait"), id_, why[: actions.LONGEST])


async def ask_to_stop(connection: Connection, id_: UUID) -> Kind | None:
    """Ask for the end of a job before its next piece; return its action, or None if it is finished or unknown."""
    action: Kind | None = await connection.fetchval(query("jobs", "stop"), id_)
    return action


async def finish(
    connection: Connection, job: Job, outcome: Literal["done", "stopped", "failed"], problem: str | None = None
) -> int | None:
    """End a job and record its result, in one transaction; return how many things it did.

    Returns None if it had ended before.
    """
    row = await connection.fetchrow(
        query("jobs", "finish"), job.id, outcome, None if problem is None else problem[: actions.LONGEST]
    )
    if row is None:
        return None
    parts = [f"{row['failed']} could not be done" if row["failed"] else "", row["problem"] or ""]
    note = ": ".join(filter(None, parts)) or None
    done: int = row["done"]
    await actions.record(connection, job.actor, job.action, subject=job.subject, count=done, note=note, outcome=outcome)
    return done


def _jobs(rows: Sequence[asyncpg.Record]) -> list[Job]:
    return [job for job in map(_job, rows) if job is not None]


def _job(row: asyncpg.Record | None) -> Job | None:
    if row is None:
        return None
    return Job(**{**row, "filter": msgspec.json.decode(row["filter"], type=Filter)})
