"""A process of ours without one of its safeguards: `python -m tests.faults.mutant SAFEGUARD ARGS`.

The product is what it is; this leaves out one thing of it at run time. A suite that then still sees zeros is blind.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

from broker import consumer, publisher
from broker.consumer import IncomingMessage
from broker.outgoing import ConfirmListener
from schemas.config import Config
from storage import sql
from workers.deliver import leases
from workers.runtime import batch_consumer, rehearsal
from workers.runtime.batch_consumer import BatchConsumer
from workers.runtime.outcomes import Outcome
from workers.store import isolate, write
from workers.store.rehearse import Rehearsals


def confirm() -> None:
    """What was published counts as safe at once."""
    publish = publisher.Publisher.publish_for

    def hasty(self: publisher.Publisher, listener: ConfirmListener, *message: Any) -> None:
        loop = asyncio.get_running_loop()
        publish(self, loop.create_future(), *message)
        loop.call_soon(listener.set_result, None)

    publisher.Publisher.publish_for = hasty  # type: ignore[method-assign, assignment]


def ack() -> None:
    """A batch is acknowledged when it is taken, and not when it is stored."""
    settle, outcomes = consumer.ack, BatchConsumer._outcomes

    async def hasty(self: BatchConsumer, batch: list[IncomingMessage]) -> list[Outcome]:
        await settle(batch)
        return await outcomes(self, batch)

    async def settled(batch: list[IncomingMessage]) -> bool:
        return True

    BatchConsumer._outcomes = hasty  # type: ignore[method-assign]
    consumer.ack = settled


def identity() -> None:
    """A message that comes again is not known by its id, neither to the worker nor to the table."""
    write.query = _instead(("existing_receipts",), "WHERE", "WHERE false AND")  # type: ignore[attr-defined, assignment]
    if url := os.environ.get("DATABASE_URL"):
        asyncio.run(_execute(url, "ALTER TABLE crossdock.receipts DROP CONSTRAINT IF EXISTS receipts_pkey"))


def lease() -> None:
    """A subscription is taken whoever has it."""
    holds = "AND (s.leased_until IS NULL OR s.leased_until < now())"  # twice in it
    leases.query = _instead(("lease",), holds, "")  # type: ignore[attr-defined, assignment]


def expiry() -> None:
    """A lease runs out in thirty years: whoever died keeps it."""
    leases.query = _instead(("lease", "renew"), "$2 * interval", "($2 + 1e9) * interval")  # type: ignore[attr-defined, assignment]


def classification() -> None:
    """Any error of the database counts as the message's, whatever its SQLSTATE and whatever else fails."""

    async def believed(pool: asyncpg.Pool, error: Exception) -> None:
        """No control write is asked whether the database works."""

    isolate._control = believed
    isolate.is_row_error = lambda error: True  # type: ignore[attr-defined]


def limit() -> None:
    """The broker's count of deliveries counts as blame: a message that comes a second time goes to quarantine."""

    async def culprits(self: Rehearsals, batch: Sequence[IncomingMessage], config: Config) -> dict[int, str]:
        return {place: "delivered too often" for place, delivery in enumerate(batch) if delivery.redelivered}

    async def convicted(index: int, why: str, work: object, *, control: object) -> str | None:
        return why

    Rehearsals.find_suspects = culprits  # type: ignore[method-assign]
    rehearsal.convict = convicted


def isolation() -> None:
    """Messages that come again are handled together with all others, whatever ended the worker."""

    async def nothing(self: Rehearsals, batch: Sequence[IncomingMessage], config: Config) -> dict[int, str]:
        return {}

    Rehearsals.find_suspects = nothing  # type: ignore[method-assign]


def size() -> None:
    """What a store worker holds is bounded by number only."""

    def uncounted(self: consumer.ByteBudget, size: int) -> None:
        """Nothing is added up."""

    consumer.ByteBudget.add = consumer.ByteBudget.remove = uncounted  # type: ignore[method-assign]
    batch_consumer.MAX_BATCH_BYTES = sys.maxsize


SAFEGUARDS: dict[str, Callable[[], None]] = {
    "confirm": confirm,
    "ack": ack,
    "identity": identity,
    "lease": lease,
    "expiry": expiry,
    "classification": classification,
    "limit": limit,
    "isolation": isolation,
    "size": size,
}


def _instead(names: tuple[str, ...], old: str, new: str) -> Callable[[str, str], str]:
    """`storage.sql.query`, with another text in these."""

    def query(file: str, name: str) -> str:
        text = sql.query(file, name)
        if name not in names:
            return text
        assert old in text
        return text.replace(old, new)

    return query


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def main(words: Sequence[str]) -> None:
    """The command line, less a safeguard."""
    SAFEGUARDS[words[0]]()
    from deploy.cli.main import main as crossdock

    sys.argv = ["crossdock", *words[1:]]
    crossdock()


if __name__ == "__main__":
    main(sys.argv[1:])
