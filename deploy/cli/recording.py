"""Records what commands change, in the same list as what operators do in the console (`crossdock actions`)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.actions import Outcome
    from storage.database import Connection

COMMAND_LINE = ("command line", "act", "")
"""The operator, role and address that are recorded for a command."""


class Tally:
    """How many things an action on many of them has done so far."""

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0


async def record(
    connection: "Connection",
    action: str,
    *,
    subject: str,
    count: int | None = None,
    note: str | None = None,
    outcome: "Outcome" = "done",
) -> None:
    """Record an action, in the transaction that carries it out. `action`: named as the console names it."""
    from storage import actions

    actor = actions.Actor(*COMMAND_LINE)
    await actions.record(connection, actor, action, subject=subject, count=count, note=note, outcome=outcome)


@asynccontextmanager
async def recorded(connection: "Connection", action: str, *, subject: str, count: int) -> AsyncIterator[Tally]:
    """Record that an action on `count` things begins, and how it ended.

    It is carried out in several transactions: one whose end is not recorded was interrupted.
    """
    await record(connection, action, subject=subject, count=count, outcome="started")
    tally = Tally()
    try:
        yield tally
    except BaseException as error:
        # The connection may be what failed.
        with suppress(Exception):
            why = f"ended early: {type(error).__name__}"
            await record(connection, action, subject=subject, count=tally.done, note=why, outcome="failed")
        raise
    note = f"{tally.failed} could not be done" if tally.failed else None
    await record(connection, action, subject=subject, count=tally.done, note=note)
