"""Count, retry and cancel all deliveries that a filter selects, piece by piece.

A filter is walked in the order of an index, by `(created_at, id)`, oldest first. Each step examines a bounded number of
deliveries, however few of them match.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from schemas.lenient import normalized
from storage.database import Connection
from storage.deliveries import UNSUCCESSFUL, Selection
from storage.sql import query

PIECE = 250
"""Maximum number of deliveries that one piece examines, so that it ends within a second."""
MOST_COUNTED = 10_000
"""Maximum number of deliveries that are counted."""
EXAMINED = 50_000
"""Maximum number of deliveries that a count examines."""

Place = tuple[datetime, UUID]
MaySend = Callable[[str, str], str | None]
"""Returns why an account's deliveries may not be sent to a subscriber now, given its name and `platform/account`."""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How many deliveries a filter selects."""

    count: int
    is_exact: bool
    """Whether all of them were counted; otherwise `count` is where counting stopped."""
    is_of_one: bool = False
    """Whether all that were counted belong to one subscription."""

    @property
    def text(self) -> str:
        """The number in words: `1,234` or `more than 10,000`."""
        return f"{self.count:,}" if self.is_exact else f"more than {self.count:,}"


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """The next deliveries that a filter selects."""

    ids: Sequence[UUID]
    created: Sequence[datetime]
    """When each of them was created."""
    ended: Sequence[datetime | None]
    """When each of them ended; None for those that wait."""
    after: Place | None
    """Where the next piece begins."""
    is_last: bool
    subscriptions: int
    """How many subscriptions they belong to."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one delivery, and the state of its subscription."""

    status: str
    attempts: int
    outcome: str | None
    """Of its newest attempt; None if there is none."""
    status_code: int | None
    enabled: bool
    paused_until: datetime | None


class Retried(msgspec.Struct, frozen=True):
    """What came of sending deliveries again."""

    ids: Sequence[UUID]
    """Those that are due now."""
    failed: int
    """How many cannot be sent any more."""
    problem: str | None
    """Why the first of them cannot be sent."""


async def now(connection: Connection) -> datetime:
    """Return the database's time, up to which a filter is frozen."""
    time: datetime = await connection.fetchval(query("bulk", "now"))
    return time


async def walk(connection: Connection, selection: Selection, after: Place | None, examined: int = PIECE) -> Piece:
    """Return what matches among the next deliveries. `selection`: with `status` and `until`, which freeze it."""
    assert selection.status is not None
    assert selection.until is not None
    row = await connection.fetchrow(
        query("bulk", _name(selection)),
        selection.status,
        selection.subscription,
        selection.type,
        selection.account,
        None if selection.key is None else normalized(selection.key),
        selection.since,
        selection.until,
        *(after or (None, None)),
        examined,
    )
    assert row is not None
    return Piece(
        ids=row["ids"],
        created=row["created_at"],
        ended=row["finished_at"],
        after=(row["last_at"], row["last_id"]) if row["examined"] else after,
        is_last=row["examined"] < examined,
        subscriptions=row["subscriptions"],
    )


async def count(connection: Connection, selection: Selection) -> Counted:
    """Count what a filter selects, in bounded time."""
    piece = await walk(connection, selection, None, EXAMINED)
    matched = len(piece.ids)
    return Counted(
        count=min(matched, MOST_COUNTED),
        is_exact=piece.is_last and matched <= MOST_COUNTED,
        is_of_one=piece.subscriptions == 1,
    )


async def pieces(connection: Connection, selection: Selection) -> AsyncIterator[Piece]:
    """Yield all that a filter selects. Whoever consumes it runs each piece in a transaction of its own."""
    after: Place | None = None
    while True:
        piece = await walk(connection, selection, after)
        yield piece
        if piece.is_last:
            return
        after = piece.after


async def retry(
    connection: Connection, ids: Sequence[UUID], ended: Sequence[datetime | None] | None, may_send: MaySend
) -> Retried:
    """Make deliveries due now, in the caller's transaction.

    `ended`: when each of them ended, so that one that has changed since then is left alone; None takes them as they
    are. Deliveries that no longer exist are left out.
    """
    expected = None if ended is None else dict(zip(ids, ended, strict=True))
    waiting: list[UUID] = []
    finished: dict[UUID, datetime] = {}
    problems: list[str] = []
    for row in await connection.fetch(query("bulk", "senders"), ids):
        if expected is not None and expected[row["id"]] != row["finished_at"]:
            continue
        problem = _problem(row["is_gone"], row["account"])
        problem = may_send(row["subscriber"], row["account"]) if problem is None else problem
        if problem is not None:
            problems.append(problem)
        elif row["finished_at"] is None:
            waiting.append(row["id"])
        elif row["id"] not in waiting:
            finished.setdefault(row["id"], row["finished_at"])
    sent = [row["id"] for row in await connection.fetch(query("bulk", "all_due_now"), waiting)]
    sent += [
        row["id"]
        for row in await connection.fetch(query("bulk", "all_back_to_outbox"), list(finished), list(finished.values()))
    ]
    if sent:
        await connection.execute(query("outbox", "wake"))
    return Retried(sent, len(problems), problems[0] if problems else None)


async def cancel(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Cancel those of the deliveries that wait, in the caller's transaction; return them."""
    cancelled = [row["id"] for row in await connection.fetch(query("bulk", "cancel_all"), ids)]
    if cancelled:
        await connection.execute(query("deliveries", "cancelled"))
    return cancelled


async def answer(connection: Connection, id_: UUID) -> Answer | None:
    """Return what became of a delivery, or None if it does not exist."""
    row = await connection.fetchrow(query("bulk", "answer"), id_)
    return None if row is None else Answer(**row)


def _problem(is_gone: bool, account: str | None) -> str | None:
    if is_gone:
        return "its subscription has been deleted"
    return "its event is older than what is kept" if account is None else None


def _name(selection: Selection) -> str:
    if selection.key is not None:
        return "walk_of_key"
    if selection.status == "pending":
        return "walk_pending" if selection.subscription is None else "walk_pending_of_subscription"
    if selection.status in UNSUCCESSFUL:
        return "walk_unsuccessful" if selection.subscription is None else "walk_unsuccessful_of_subscription"
    return "walk_delivered" if selection.subscription is None else "walk_delivered_of_subscription"
