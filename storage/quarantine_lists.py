"""What operators look at in quarantine: groups, rows, one message, and parts of its body. All of it is bounded."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from storage.database import Connection
from storage.quarantine import STAGES, Place, Selection
from storage.sql import query

LOOKED_AT = 10_000
"""Maximum number of messages that a page of a list examines."""
GROUPED, MOST_GROUPED = 300, 10_000
"""Number of messages that are grouped, the newest first, at once and where that is asked for; each is read for it."""
MOST_GROUPS = 50
"""Maximum number of groups that are listed."""
ACTIONS = 10
"""Maximum number of actions on one message that its page shows."""
ACTIONS_LOOKED_AT = 5_000
"""Maximum number of recorded actions among which they are looked for."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message as it is listed."""

    id: UUID
    received_at: datetime
    stored_at: datetime
    platform: str
    account: str
    event: str
    stage: str
    attempts: int
    reason: str
    replayed_at: datetime | None
    discarded_at: datetime | None

    @property
    def is_replayed(self) -> bool:
        """Whether it was replayed, and not discarded after that."""
        return self.replayed_at is not None and (self.discarded_at is None or self.replayed_at >= self.discarded_at)


class Details(Message, frozen=True, kw_only=True):
    """One message without its body."""

    erased_at: datetime | None
    content_type: str | None
    bytes: int


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that match, among those that were looked at."""

    rows: Sequence[Message]
    back_to: datetime | None
    """Where looking ended, if that was before the page was full; None if it was not."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of one account and event with the same reason."""

    platform: str
    account: str
    event: str
    stage: str
    reason: str
    """Its first 200 characters."""
    messages: int
    first_at: datetime
    last_at: datetime


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """The newest messages that wait, in groups."""

    rows: Sequence[Group]
    examined: int
    """How many messages they have together."""
    is_complete: bool
    """Whether all messages that wait are among them."""


class LastGood(msgspec.Struct, frozen=True, kw_only=True):
    """The newest document that an event of an account led to."""

    id: int
    type: str
    key: str
    version: int
    last_received_at: datetime


class StoredAs(msgspec.Struct, frozen=True, kw_only=True):
    """The document that a message was stored in."""

    id: int
    platform: str
    account: str
    type: str
    key: str


class ActedOn(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator did with a message."""

    at: datetime
    operator: str
    action: str
    note: str | None
    outcome: str


async def listing(
    connection: Connection, selection: Selection, *, waiting: bool, before: Place | None, limit: int
) -> Listing:
    """Return messages that wait, or those that were replayed or discarded, the newest first."""
    name = "rows_open" if waiting else "rows_dealt_with"
    # Without a filter, all that is examined is shown.
    is_filtered = not waiting or selection != Selection(stage=selection.stage)
    most = LOOKED_AT if is_filtered else limit
    rows = await connection.fetch(query("quarantine", name), *selection.values, *(before or (None, None)), limit, most)
    messages = [Message(**{field: row[field] for field in Message.__struct_fields__}) for row in rows if row["id"]]
    examined, back_to = (rows[0]["examined"], rows[0]["back_to"]) if rows else (0, None)
    return Listing(rows=messages, back_to=back_to if examined == most and len(messages) < limit else None)


async def groups(connection: Connection, newest: int = GROUPED) -> Groups:
    """Return the newest messages that wait, grouped by what is wrong with them and where they come from."""
    rows = await connection.fetch(query("quarantine", "groups"), list(STAGES), newest, MOST_GROUPS)
    listed = [Group(**{field: row[field] for field in Group.__struct_fields__}) for row in rows]
    examined = rows[0]["examined"] if rows else 0
    return Groups(rows=listed, examined=examined, is_complete=examined < newest and len(rows) < MOST_GROUPS)


async def last_good(connection: Connection, platform: str, account: str, event: str) -> LastGood | None:
    """Return the newest document that this event of an account led to, or None if there is none."""
    row = await connection.fetchrow(query("quarantine", "last_good"), platform, account, event)
    return None if row is None else LastGood(**row)


async def stored_as(connection: Connection, id_: UUID, received_at: datetime) -> StoredAs | None:
    """Return the document that a message was stored in, or None if it was not stored."""
    row = await connection.fetchrow(query("quarantine", "stored_as"), id_, received_at)
    return None if row is None else StoredAs(**row)


async def acted_on(connection: Connection, id_: UUID, since: datetime) -> list[ActedOn]:
    """Return what operators did with one message since it came in, newest first, without jobs."""
    parameters = (str(id_), ACTIONS, ACTIONS_LOOKED_AT, since)
    return [ActedOn(**row) for row in await connection.fetch(query("quarantine", "acted_on"), *parameters)]


async def job_of(connection: Connection, at: datetime, action: str) -> str | None:
    """Return who started the job that did this at that time; None if that is not known."""
    operator: str | None = await connection.fetchval(query("quarantine", "job_of"), at, action)
    return operator


async def describe(connection: Connection, id_: UUID) -> Details | None:
    """Return one message without its body, or None."""
    row = await connection.fetchrow(query("quarantine", "describe"), id_)
    return None if row is None else Details(**row)


async def raw(connection: Connection, id_: UUID, *, start: int = 0, size: int = 2**31 - 2) -> bytes:
    """Return bytes of a message's body, at most `size`, from byte `start` on."""
    return bytes(await connection.fetchval(query("quarantine", "raw_of"), id_, start, size) or b"")
