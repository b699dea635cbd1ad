"""List, replay and discard the authentic messages that could not be processed."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from storage.database import Connection
from storage.sql import query

STAGES = ("unreadable", "refused", "failed", "unrouted")
PIECE = 200
"""Maximum number of messages that are replayed in one transaction."""
PIECE_BYTES = 16 * 1024 * 1024
"""Maximum bytes of their bodies, unless a single body is larger."""
PAGE = 2000
"""Maximum number of messages that `pages` examines at a time."""
MOST_COUNTED = 10_000
"""Maximum number of messages that are counted."""
EXAMINED = 50_000
"""Maximum number of messages that a count examines."""


class Selection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A selection of the messages that need attention; None matches any value."""

    stage: str | None = None
    platform: str | None = None
    account: str | None = None
    event: str | None = None
    reason: str | None = None
    """Part of the reason, ignoring case."""
    same_reason: str | None = None
    """The first 200 characters of the reason, as groups have them."""
    until: datetime | None = None
    """Put into quarantine before this time."""

    @property
    def stages(self) -> list[str]:
        """The stages that are looked through, each by its own index."""
        return [*STAGES] if self.stage is None else [self.stage]

    @property
    def values(self) -> tuple[object, ...]:
        """The parameters that all queries of a selection begin with."""
        return (
            self.stages,
            self.platform,
            self.account,
            self.event,
            self.reason,
            self.same_reason,
            self.until,
        )

    @property
    def whole_account(self) -> str | None:
        """The account, as `channelape/rothys` or `rothys`."""
        return f"{self.platform}/{self.account}" if self.platform else self.account

    def in_words(self) -> str:
        """Return what is selected, for people and for the list of actions."""
        parts = [
            f"stage {self.stage}" if self.stage else "",
            f"account {self.whole_account}" if self.account else "",
            f"event {self.event}" if self.event else "",
            f"the reason “{self.same_reason}”" if self.same_reason else "",
            f"a reason with “{self.reason}”" if self.reason else "",
            f"in quarantine before {self.until:%Y-%m-%d %H:%M:%S} UTC" if self.until else "",
        ]
        return ", ".join(["messages that wait", *filter(None, parts)])


EVERYTHING = Selection()
Place = tuple[datetime, UUID]


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages a selection has."""

    count: int
    is_exact: bool
    """Whether all of them were counted; otherwise `count` is where counting stopped."""
    first_at: datetime | None
    """When the first of them was received."""

    @property
    def text(self) -> str:
        """The number in words: `1,234` or `more than 10,000`."""
        return f"{self.count:,}" if self.is_exact else f"more than {self.count:,}"


class StageCount(NamedTuple):
    """Number and age of the messages that need attention at one stage."""

    messages: int
    oldest_seconds: float
    """Seconds since the oldest of them was received; 0 if there are none."""


async def entries(
    connection: Connection, *, everything: bool, limit: int, selection: Selection = EVERYTHING
) -> list[asyncpg.Record]:
    """Return messages, newest first; `everything` includes those that were replayed or discarded."""
    return await connection.fetch(
        query("quarantine", "list"),
        everything,
        limit,
        selection.stage,
        selection.platform,
        selection.account,
        selection.reason,
        selection.event,
    )


async def show(connection: Connection, id_: UUID) -> asyncpg.Record | None:
    """Return one message with its raw bytes, or None."""
    return await connection.fetchrow(query("quarantine", "show"), id_)


async def sizes(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return the body size in bytes of each of these messages that exists."""
    return {row["id"]: row["bytes"] for row in await connection.fetch(query("quarantine", "existing"), ids)}


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """The next messages of a selection."""

    messages: Sequence[tuple[UUID, int]]
    """Their ids, and the sizes of their bodies in bytes."""
    received: Sequence[datetime]
    """When each of them was received."""
    after: Place | None
    is_last: bool


async def walk(connection: Connection, selection: Selection, after: Place | None, examined: int = PAGE) -> Piece:
    """Return what is selected among the next messages that need attention, oldest first."""
    row = await connection.fetchrow(
        query("quarantine", "select_open"), *selection.values, *(after or (None, None)), examined
    )
    assert row is not None
    return Piece(
        messages=list(zip(row["ids"], row["sizes"], strict=True)),
        received=row["received_at"],
        after=(row["last_at"], row["last_id"]) if row["examined"] else after,
        is_last=row["examined"] < examined,
    )


async def pages(connection: Connection, selection: Selection) -> AsyncIterator[list[tuple[UUID, int]]]:
    """Yield ids and sizes of the selected messages that need attention, oldest first.

    Each message is yielded once, even if it fails again.
    """
    after: Place | None = None
    while True:
        piece = await walk(connection, selection, after)
        if piece.messages:
            yield list(piece.messages)
        if piece.is_last:
            return
        after = piece.after


def pieces(messages: Sequence[tuple[UUID, int]]) -> list[list[UUID]]:
    """Split messages, given by id and size, into lists of bounded length and total size."""
    result: list[list[UUID]] = []
    size = 0
    for id_, length in messages:
        if not result or len(result[-1]) == PIECE or size + length > PIECE_BYTES:
            result.append([])
            size = 0
        result[-1].append(id_)
        size += length
    return result


async def lock(connection: Connection, ids: Sequence[UUID], *, again: bool) -> list[asyncpg.Record]:
    """Lock these messages and return them with their raw bytes.

    Call it in a transaction that commits when the broker has confirmed them. `again`: include those that were replayed
    or discarded before.
    """
    return await connection.fetch(query("quarantine", "lock"), ids, again)


async def mark_all_replayed(connection: Connection, ids: Sequence[UUID]) -> None:
    """Mark messages as replayed, in a transaction that commits when the broker has confirmed them."""
    await connection.execute(query("quarantine", "all_replayed"), ids)


async def discard_all(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Mark messages as discarded and keep their bytes; return the ids of those that were not discarded before."""
    return [row["id"] for row in await connection.fetch(query("quarantine", "discard_all"), ids)]


async def discard_waiting(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Mark messages that wait as discarded, and keep their bytes; return them."""
    return [row["id"] for row in await connection.fetch(query("quarantine", "discard_waiting"), ids)]


async def count_open(connection: Connection, selection: Selection = EVERYTHING) -> int:
    """Return the number of selected messages that need attention."""
    return sum([len(page) async for page in pages(connection, selection)])


async def count(connection: Connection, selection: Selection) -> Counted:
    """Count the selected messages that need attention, in bounded time."""
    piece = await walk(connection, selection, None, EXAMINED)
    matched = len(piece.messages)
    return Counted(
        count=min(matched, MOST_COUNTED),
        is_exact=piece.is_last and matched <= MOST_COUNTED,
        first_at=piece.received[0] if piece.received else None,
    )


async def by_stage(connection: Connection) -> dict[str, StageCount]:
    """Return number and age of the messages that need attention, by stage.

    These are the metrics `crossdock_quarantine_messages` and `crossdock_quarantine_oldest_seconds`.
    """
    counts = dict.fromkeys(STAGES, StageCount(0, 0.0))
    for row in await connection.fetch(query("quarantine", "by_stage")):
        counts[row["stage"]] = StageCount(row["messages"], max(0.0, row["oldest_seconds"]))
    return counts
