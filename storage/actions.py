"""What operators did: one row per action, written in the action's own transaction (view `operator_actions`)."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from storage.database import Connection
from storage.sql import query

Outcome = Literal["done", "started", "stopped", "refused", "failed"]
"""`started`: a job carries it out. `stopped`: an operator ended the job. `refused`: the operator may not do it."""
LONGEST = 500
"""Characters of a subject or a note that are stored."""


class Actor(msgspec.Struct, frozen=True):
    """The operator who acts."""

    operator: str
    role: str
    address: str
    """The address of the client."""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """An action as it was recorded."""

    id: int
    at: datetime
    operator: str
    role: str
    address: str
    action: str
    subject: str
    count: int | None
    note: str | None
    outcome: str


async def record(
    connection: Connection,
    actor: Actor,
    action: str,
    *,
    subject: str = "",
    count: int | None = None,
    note: str | None = None,
    outcome: Outcome = "done",
) -> None:
    """Record an action, in the transaction that carries it out. Raises asyncpg's errors.

    `action`: such as `deliveries.retry`. `subject`: the id of what is acted on, or the filter that selects it; never a
    secret, nor a part of a body.
    """
    await connection.execute(
        query("actions", "record"),
        actor.operator,
        actor.role,
        actor.address,
        action,
        subject[:LONGEST],
        count,
        None if note is None else note[:LONGEST],
        outcome,
    )


async def listing(
    connection: Connection,
    *,
    operator: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    before: tuple[datetime, int] | None = None,
    limit: int = 50,
) -> list[Action]:
    """Return recorded actions, the newest first. Raises asyncpg's errors."""
    place = before or (None, None)
    rows = await connection.fetch(query("actions", "listing"), operator, action, subject, *place, limit)
    return [Action(**row) for row in rows]


async def use_link(connection: Connection, id_: UUID) -> bool:
    """Return whether a link to log in with is used for the first time, and remember that it was used."""
    return bool(await connection.fetchval(query("actions", "use_link"), id_))
