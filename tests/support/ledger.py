"""Stores documents, deliveries and attempts as rows, without the workers that make them."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from storage.database import Connection
from tests.support.storing import START

ENDED = ("delivered", "failed", "cancelled", "superseded")
"""Statuses of deliveries that have ended."""


async def document(database: Connection, key: str, account: str = "rothys") -> int:
    """Store a document without versions, and return its id."""
    id_: int = await database.fetchval(
        """INSERT INTO crossdock.documents (platform, account, type, key, version_id, received_at,
        last_received_at, version, times_received, digest)
        VALUES ('channelape', $1, 'channelape.receipt_confirmation', $2, gen_random_uuid(), $3, $3, 1, 1, '')
        RETURNING id""",
        account,
        key,
        START,
    )
    return id_


async def deliver(
    database: Connection,
    subscription: UUID,
    document_id: int,
    *,
    status: str = "pending",
    key: str = "R-1",
    minutes: float = 0.0,
    took: float = 5.0,
    attempts: int = 0,
    type_: str = "channelape.receipt_confirmation",
) -> UUID:
    """Store a delivery that was created `minutes` after START, and ended `took` minutes later."""
    id_ = uuid4()
    created = START + timedelta(minutes=minutes)
    common = (id_, subscription, created, created, uuid4(), uuid4(), document_id, attempts, type_, key)
    if status == "pending":
        await database.execute(
            """INSERT INTO crossdock.outbox (id, subscription_id, next_attempt_at, created_at, received_at, event_id,
            message_id, document_id, attempts, type, key, version)
            VALUES ($1, $2, now() + interval '12 minutes', $3, $4, $5, $6, $7, $8, $9, $10, 1)""",
            *common,
        )
    else:
        await database.execute(
            """INSERT INTO crossdock.finished (id, subscription_id, created_at, received_at, event_id, message_id,
            document_id, attempts, type, key, version, status, finished_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $12)""",
            *common,
            status,
            created + timedelta(minutes=took),
        )
    return id_


async def attempt(database: Connection, delivery: UUID, number: int, **fields: Any) -> None:
    values = {"outcome": "refused", "status_code": 500, "error": None, "response": b"down for repairs", **fields}
    await database.execute(
        """INSERT INTO crossdock.attempts (delivery_id, at, attempt, status_code, duration_ms, outcome, error, response)
        VALUES ($1, $2, $3, $4, 12.5, $5, $6, $7)""",
        delivery,
        START + timedelta(minutes=number),
        number,
        values["status_code"],
        values["outcome"],
        values["error"],
        values["response"],
    )
