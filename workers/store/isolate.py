"""Writes a batch, and finds the message that the database refuses, without blaming another.

An error alone proves nothing: PostgreSQL out of memory, a full disk, a broken index or a proxy in between may raise any
error at any statement. A comparison does prove something. A control write stores a synthetic document by the same
statements, and is rolled back. If it fails, the database is unavailable, and everything is held. If it succeeds every
time, before and after a message that fails alone with the same error each time, that message is to blame.

Errors that are not about the values of a row need one more condition: at most two different messages are blamed for the
same error within ten minutes. Further messages that fail alike are held, because the error is probably not about them.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import msgspec

from schemas import documents
from schemas.documents import Document
from schemas.envelope import Envelope
from schemas.platform import Line, ParsedDocument
from storage.database import explain, is_row_error
from workers.store import write
from workers.store.outbox import NO_SUBSCRIBERS, Outbound
from workers.store.prepare import FAILED, Incoming
from workers.store.write import WriteResult

log = logging.getLogger("crossdock.store")

TRIES = 3
"""Number of tries that a message has alone before it goes to quarantine."""
ATTEMPTS_PER_TRY = 3
"""Writes in each try, with a control write before and after each write; one success ends the trial."""
PAUSES = (0.0, 0.3, 1.0)
"""Seconds before each try."""
ALIKE = 2
"""Maximum number of messages to blame for the same error, unless it is about the values of a row."""
ALIKE_WINDOW = 600.0
"""Seconds for which a blamed message counts as one of those that fail alike."""


class FailureHistory:
    """Remembers which messages failed lately, and with which error; only the first ALIKE of them are to blame."""

    def __init__(self) -> None:
        self._failed: dict[str, dict[UUID, float]] = {}

    def add(self, kind: str, message_id: UUID) -> bool:
        """Add a message that failed with this kind of error; return whether there are more than ALIKE of them."""
        now = time.monotonic()
        seen = {id_: at for id_, at in self._failed.get(kind, {}).items() if now - at < ALIKE_WINDOW}
        seen[message_id] = now
        self._failed[kind] = seen
        return len(seen) > ALIKE

    def have_others_failed(self, kind: str, message_id: UUID) -> bool:
        """Return whether so many others failed with this kind of error lately that another trial proves nothing."""
        now, failed = time.monotonic(), self._failed.get(kind, {})
        return sum(id_ != message_id and now - at < ALIKE_WINDOW for id_, at in failed.items()) > ALIKE


async def write_isolating(
    pool: asyncpg.Pool,
    batch: Sequence[Incoming],
    outbound: Outbound = NO_SUBSCRIBERS,
    failures: FailureHistory | None = None,
) -> WriteResult:
    """Write a batch, except for messages that the database refuses.

    Such a message is stored without its jsonb, or else quarantined, or else held (`WriteResult.held`). Raises the
    database's error if it is unavailable; what was committed before then may be written again.
    """
    try:
        return await write.write_retrying(pool, batch, outbound)
    except Exception as error:
        # If the control write fails too, the database is at fault, and its error is raised unchanged.
        await _control(pool, error)
        if len(batch) == 1:
            return await _try_alone(
                pool, write.mark_possibly_stored(batch)[0], outbound, error, failures or FailureHistory()
            )
    batch = write.mark_possibly_stored(batch)
    half = len(batch) // 2
    first = await write_isolating(pool, batch[:half], outbound, failures)
    second = await write_isolating(pool, batch[half:], outbound, failures)
    return first + second


async def _try_alone(
    pool: asyncpg.Pool, message: Incoming, outbound: Outbound, error: Exception, failures: FailureHistory
) -> WriteResult:
    """Find out whether this message is to blame. Raises its error if it is not the same each time."""
    kind = _kind(error)
    held = WriteResult([], held={message.message_id})
    if not is_row_error(error) and failures.have_others_failed(kind, message.message_id):
        failures.add(kind, message.message_id)
        return held
    for pause in PAUSES[:TRIES]:
        await asyncio.sleep(pause)
        for _ in range(ATTEMPTS_PER_TRY):
            await _control(pool, error)
            try:
                return await write.write_retrying(pool, [message], outbound)
            except Exception as again:
                if _kind(again) != kind:
                    raise
            await _control(pool, error)
    if not is_row_error(error) and failures.add(kind, message.message_id):
        log.warning("several messages fail alike: held", extra={"id": str(message.message_id), "error": explain(error)})
        return held
    if message.document is None:  # the quarantine refuses it too; its neighbours need not wait for that
        log.error("message could not be quarantined", extra={"id": str(message.message_id), "error": explain(error)})
        return held
    return await write_isolating(pool, [_degrade(message, error)], outbound, failures)


def _kind(error: Exception) -> str:
    return str(getattr(error, "sqlstate", None) or type(error).__name__)


def _degrade(message: Incoming, error: Exception) -> Incoming:
    """Return the message in a form that requires less of the database.

    That is the document without its jsonb if its values are at fault, and otherwise a message for the quarantine.
    """
    document = message.document
    assert document is not None
    if document.body is not None and is_row_error(error):
        without_jsonb = msgspec.structs.replace(document, body=None, flags=(*document.flags, documents.NOT_JSONB))
        return msgspec.structs.replace(message, document=without_jsonb)
    reason = f"the database refuses it: {explain(error)}".replace("\0", "\ufffd")[:2000]
    log.error("message failed", extra={"id": str(message.message_id), "reason": reason})
    return msgspec.structs.replace(message, document=None, reason=reason, stage=FAILED, attempts=TRIES)


class _RolledBackError(Exception):
    """Raised to roll back the transaction of a control write."""


async def _control(pool: asyncpg.Pool, error: Exception) -> None:
    """Run a control write. Raises `error` if it fails."""
    try:
        await control(pool)
    except Exception:
        raise error from None


async def control(pool: asyncpg.Pool) -> None:
    """Show that the database stores documents now, by storing a synthetic one in a transaction that is rolled back.

    Raises the database's error if it does not.
    """
    async with pool.acquire() as connection:
        with suppress(_RolledBackError):
            async with connection.transaction():
                await write.write(connection, [_synthetic()])
                raise _RolledBackError


def _synthetic() -> Incoming:
    """Return a message with a document of its own, so that no two control writes wait for each other."""
    id_ = uuid4()
    envelope = Envelope(
        message_id=str(id_), platform="crossdock", account="control", event="control", received_at=datetime.now(UTC)
    )
    reading = ParsedDocument(type="crossdock.control", key=id_.hex, lines=(Line(id="1", article="A"),))
    return Incoming(envelope, id_, b"{}", Document(reading, id_.bytes, "{}", b"{}"))
