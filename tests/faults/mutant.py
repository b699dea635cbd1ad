"""A process of ours without one of its safeguards: `python -m tests.faults.mutant SAFEGUARD ARGS`.

The safeguard is removed at run time, and production code contains nothing of this. A suite whose counts are still zero
then detects nothing.
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
    """Count a publish as confirmed at once, before RabbitMQ confirms it."""
    publish = publisher.Publisher.publish_for

    def hasty(self: publisher.Publisher, listener: ConfirmListener, *message: Any) -> None:
        loop = asyncio.get_running_loop()
        publish(self, loop.create_future(), *message)
        loop.call_soon(listener.set_result, None)

    publisher.Publisher.publish_for = hasty  # type: ignore[method-assign, assignment]


def ack() -> None:
    """Acknowledge a batch when it is received, and not when it is stored."""
    settle, outcomes = consumer.ack, BatchConsumer._outcomes

    async def hasty(self: BatchConsumer, batch: list[IncomingMessage]) -> list[Outcome]:
        await settle(batch)
        return await outcomes(self, batch)

    async def settled(batch: list[IncomingMessage]) -> bool:
        return True

    BatchConsumer._outcomes = hasty  # type: ignore[method-assign]
    consumer.ack = settled


def identity() -> None:
    """Store a message that comes again once more: neither the worker nor the table recognizes its id."""
    write.query = _instead(("existing_receipts",), "WHERE", "WHERE false AND")  # type: ignore[attr-defined, assignment]
    if url := os.environ.get("DATABASE_URL"):
        asyncio.run(_execute(url, "ALTER TABLE crossdock.receipts DROP CONSTRAINT IF EXISTS receipts_pkey"))


def lease() -> None:
    """Lease a subscription although another worker holds it."""
    holds = "AND (s.leased_until IS NULL OR s.leased_until < now())"  # occurs twice in the query
    leases.query = _instead(("lease",), holds, "")  # type: ignore[attr-defined, assignment]


def expiry() -> None:
    """Let leases expire in thirty years, so that a worker that dies keeps its own."""
    leases.query = _instead(("lease", "renew"), "$2 * interval", "($2 + 1e9) * interval")  # type: ignore[attr-defined, assignment]


def classification() -> None:
    """Blame the message for any error of the database, whatever its SQLSTATE and whatever else fails."""

    async def believed(pool: asyncpg.Pool, error: Exception) -> None:
        """Do no control write, which would show whether the database works."""

    isolate._control = believed
    isolate.is_row_error = lambda error: True  # type: ignore[attr-defined]


def limit() -> None:
    """Quarantine a message that is delivered a second time, because the broker counts its deliveries."""

    async def redelivered(self: Rehearsals, batch: Sequence[IncomingMessage], config: Config) -> dict[int, str]:
        return {place: "delivered too often" for place, delivery in enumerate(batch) if delivery.redelivered}

    async def convicted(index: int, why: str, work: object, *, control: object) -> str | None:
        return why

    Rehearsals.find_suspects = redelivered  # type: ignore[method-assign]
    rehearsal.convict = convicted


def isolation() -> None:
    """Handle redelivered messages together with all others, although one of them may have ended the worker."""

    async def nothing(self: Rehearsals, batch: Sequence[IncomingMessage], config: Config) -> dict[int, str]:
        return {}

    Rehearsals.find_suspects = nothing  # type: ignore[method-assign]


def size() -> None:
    """Bound what a store worker holds by the number of messages only, not by bytes."""

    def uncounted(self: consumer.ByteBudget, size: int) -> None:
        """Do not add up the sizes."""

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
    """Return `storage.sql.query` with `old` replaced by `new` in the queries of these names."""

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
    """Run the command line without a safeguard. `words`: its name, and the command's arguments."""
    SAFEGUARDS[words[0]]()
    from deploy.cli.main import main as crossdock

    sys.argv = ["crossdock", *words[1:]]
    crossdock()


if __name__ == "__main__":
    main(sys.argv[1:])
