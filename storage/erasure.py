"""Erases personal data for good: of documents by key or order number, or of everything before a time (contract §11).

An erasure is noted before it begins, and works in small pieces, each of them one transaction that locks the documents
as the store workers do. A process that dies leaves a note, from which another one resumes; a piece that is repeated
finds nothing to do. Which columns are erased is said in `classification.toml`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID, uuid4

import asyncpg
import msgspec

from storage import erased_events, transfers
from storage.database import Connection
from storage.mentions import mentions
from storage.privacy import erasing, personal_columns
from storage.sql import query

PIECE = 300
"""Maximum number of receipts, and of quarantined messages, that one transaction erases: a tenth of a second."""
ATTEMPTS_PER_PIECE = 1000
"""Maximum number of attempts of deliveries that one transaction erases."""
EXAMINED_PER_PIECE = 5000
"""Maximum number of receipts that one piece of an erasure by age examines."""
QUARANTINED_PER_PAGE = 20
"""Number of quarantined messages whose bytes are searched at a time; each may have several megabytes."""
ROUND_HOURS = 24
"""Minimum hours between the beginnings of two rounds of `[storage] body_days`."""
STALLED_SECONDS = 60.0
"""Seconds after which an erasure that no process has worked on is resumed by another process."""
SETTLED_SECONDS = 300.0
"""Seconds after which a finished erasure is checked: longer than an attempt of a delivery lasts, whose answer may be
stored after the delivery was cancelled."""
ANALYZE_TIMEOUT = 1800.0
"""Seconds that replacing a table's statistics may take."""
RETRIES = 10
"""Number of times that a transaction is repeated which PostgreSQL ended in favor of another one."""

_COLLISIONS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)

Receipts = Sequence[asyncpg.Record]
T = TypeVar("T")


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure covers: a business key, an order number, or everything that was received before a time."""

    platform: str | None
    """None: the documents of all platforms and accounts, of an erasure by age."""
    account: str | None
    key: str | None = None
    order_number: str | None = None
    before: datetime | None = None

    @property
    def request(self) -> tuple[str | None, str | None, str | None, str | None]:
        """The parameters of the queries that select documents by key or order number."""
        return self.platform, self.account, self.key, self.order_number


async def selects_documents(connection: Connection, selection: Selection) -> bool:
    """Return whether any document has the key or the order number, erased or not. Raises asyncpg's errors."""
    return bool(await connection.fetchval(query("erasure", "selects"), *selection.request))


async def count(connection: Connection, selection: Selection) -> dict[str, int]:
    """Return the number of rows with personal data that an erasure would cover, by table. Raises asyncpg's errors."""
    counts = await count_stored(connection, selection)
    if selection.before is None:
        quarantined = [id_ async for page in _quarantined_pages(connection, selection) for id_ in page]
        return counts | {"quarantined": len(quarantined)}
    values = selection.platform, selection.account, selection.before
    return counts | {"quarantined": await connection.fetchval(query("erasure", "count_quarantined_before"), *values)}


async def count_stored(connection: Connection, selection: Selection) -> dict[str, int]:
    """Return what `count` returns without messages in quarantine, all of which it would have to search.

    Raises asyncpg's errors.
    """
    chosen = query("erasure", "chosen_by_request")
    values: tuple[object, ...] = selection.request
    if selection.before is not None:
        chosen = query("erasure", "chosen_by_age")
        values = selection.platform, selection.account, selection.before
    row = await connection.fetchrow(erasing("counts").replace("{chosen}", chosen), *values)
    assert row is not None
    return dict(row)


async def start(connection: Connection, selection: Selection) -> UUID:
    """Note an erasure, which from now on is carried out whatever happens, and return its id.

    Raises asyncpg's errors.
    """
    id_ = uuid4()
    await connection.execute(query("erasure", "start"), id_, *selection.request, selection.before)
    return id_


async def request(connection: Connection, selection: Selection) -> UUID:
    """Note an erasure by key or order number that a store worker is to carry out at once, and return its id.

    Raises asyncpg's errors.
    """
    id_ = uuid4()
    await connection.execute(query("erasure", "request"), id_, *selection.request)
    return id_


async def start_round(connection: Connection, body_days: int, now: datetime) -> UUID | None:
    """Note an erasure of everything that was received more than `body_days` days before `now`, and return its id.

    Returns None if there was such a round within ROUND_HOURS. Each round begins with the oldest receipt, because a
    message may be stored long after it was received. Raises asyncpg's errors.
    """
    before, since = now - timedelta(days=body_days), now - timedelta(hours=ROUND_HOURS)
    id_: UUID | None = await connection.fetchval(query("erasure", "start_round"), uuid4(), now, before, since)
    return id_


async def run(connection: Connection, erasure: UUID, on_piece: Callable[[], None] = lambda: None) -> None:
    """Carry out what is left of an erasure. Several processes may do so at the same time. Raises asyncpg's errors."""
    selection = await _selection(connection, erasure)
    while not await _piece(connection, erasure, selection):
        on_piece()
    await _erase_quarantined(connection, selection)
    await forget_statistics(connection)
    await connection.execute(query("erasure", "finish"), erasure)


async def stalled(connection: Connection) -> list[tuple[UUID, bool]]:
    """Return the erasures that no process works on, each with whether it has finished and is to be checked."""
    rows = await connection.fetch(query("erasure", "stalled"), STALLED_SECONDS, SETTLED_SECONDS)
    return [(row["id"], row["is_check"]) for row in rows]


async def check(connection: Connection, erasure: UUID) -> None:
    """Erase what was stored of a finished erasure's deliveries after they were cancelled. Raises asyncpg's errors."""
    selection = await _selection(connection, erasure)
    if selection.before is None:
        receipts = await connection.fetch(query("erasure", "late_receipts"), *selection.request)
        for place in range(0, len(receipts), PIECE):
            await _erase_attempts(connection, receipts[place : place + PIECE])
    await connection.execute(query("erasure", "checked"), erasure)


async def forget_statistics(connection: Connection) -> None:
    """Have the planner's statistics of personal columns made again, because they hold samples of the values.

    Raises asyncpg's errors.
    """
    for row in await connection.fetch(query("erasure", "sampled_tables")):
        columns = next((names for name, names in personal_columns().items() if _is_of(row["table"], name)), ())
        sampled = [column for column in row["columns"] if column in columns]
        if sampled:
            # A parent is analyzed with all of its partitions, which takes longer than any other statement may.
            async with connection.transaction():
                await connection.execute("SET LOCAL statement_timeout = 0")
                await connection.execute(
                    query("erasure", "forget_samples"), row["table"], sampled, timeout=ANALYZE_TIMEOUT
                )


def _is_of(name: str, table: str) -> bool:
    """Return whether a table is this one or one of its partitions."""
    return name == table or (name.startswith(f"{table}_") and name.removeprefix(f"{table}_")[:1] in "d0123456789")


async def _selection(connection: Connection, erasure: UUID) -> Selection:
    row = await connection.fetchrow(query("erasure", "take"), erasure)
    assert row is not None
    names = ("platform", "account", "key", "order_number", "before")
    return Selection(**{name: row[name] for name in names})


async def _piece(connection: Connection, erasure: UUID, selection: Selection) -> bool:
    """Erase one piece; return True if there is nothing left to do."""
    if selection.before is None:
        return await _piece_of_request(connection, erasure, selection)
    return await _piece_by_age(connection, erasure, selection)


async def _piece_of_request(connection: Connection, erasure: UUID, selection: Selection) -> bool:
    """Erase at most PIECE receipts of the next document; return True if there is no further document."""
    row = await connection.fetchrow(query("erasure", "take"), erasure)
    assert row is not None
    document = await connection.fetchval(
        query("erasure", "next_document"), *selection.request, row["after_document"], erasure
    )
    if document is None:
        return True

    async def begin() -> None:
        state = await connection.fetchrow(query("erasure", "take"), erasure)
        assert state is not None
        if state["after_document"] >= document:
            return  # another process has finished the document, and what has come since is not part of the request
        await connection.execute(query("erasure", "lock_documents"), [document])
        if await connection.fetchval(query("erasure", "is_unerased"), document) and await connection.fetchval(
            query("erasure", "begin_document"), document, erasure
        ):
            await connection.execute(query("erasure", "note_contents"), document)

    async def erase() -> None:
        await connection.fetchrow(query("erasure", "take"), erasure)
        receipts = await connection.fetch(query("erasure", "receipts_of_document"), document, PIECE)
        await _erase_receipts(connection, [document], receipts)
        if len(receipts) < PIECE:
            await connection.fetch(erasing("erase_contents"), document)
            await _erase_documents(connection, [document])
            if await connection.fetchval(query("erasure", "end_document"), document, erasure):
                await erased_events.record(
                    connection, await connection.fetch(query("erasure", "erased_versions"), document)
                )
            await connection.execute(query("erasure", "advance_document"), erasure, document)

    await _in_transaction(connection, begin)
    await _erase_attempts(connection, await connection.fetch(query("erasure", "receipts_of_document"), document, PIECE))
    await _in_transaction(connection, erase)
    return False


async def _piece_by_age(connection: Connection, erasure: UUID, selection: Selection) -> bool:
    """Erase at most PIECE receipts, with the repeats of their versions; return True if there are no further ones."""
    state = await connection.fetchrow(query("erasure", "take"), erasure)
    assert state is not None
    rows = await connection.fetch(
        query("erasure", "receipts_before"),
        selection.platform,
        selection.account,
        selection.before,
        state["after_at"],
        state["after_id"],
        PIECE,
        EXAMINED_PER_PIECE,
    )
    if not rows:
        return True
    receipts = [row for row in rows if row["document_id"] is not None]

    async def erase(chosen: Receipts) -> None:
        await connection.fetchrow(query("erasure", "take"), erasure)
        documents = sorted({row["document_id"] for row in chosen})
        versions = await _erase_receipts(connection, documents, chosen)
        await _erase_documents(connection, documents)
        await erased_events.record(connection, versions)

    async def erase_and_advance() -> None:
        if receipts:
            await erase(receipts)
        last = receipts[-1] if len(receipts) == PIECE else None
        place = (rows[0]["last_at"], rows[0]["last_id"]) if last is None else (last["received_at"], last["message_id"])
        await connection.execute(query("erasure", "advance_receipt"), erasure, *place)

    while repeats := await connection.fetch(query("erasure", "repeats_of"), *_columns(receipts), PIECE):
        await _erase_attempts(connection, repeats)
        await _in_transaction(connection, partial(erase, repeats))
    await _erase_attempts(connection, receipts)
    await _in_transaction(connection, erase_and_advance)
    return len(receipts) < PIECE and rows[0]["examined"] < EXAMINED_PER_PIECE


async def _erase_receipts(connection: Connection, documents: list[int], receipts: Receipts) -> list[asyncpg.Record]:
    """Erase receipts and everything that belongs to them; return the versions that begin with them.

    To be called in a transaction.
    """
    await connection.execute(query("erasure", "lock_documents"), documents)
    if not receipts:
        return []
    columns = _columns(receipts)
    if await connection.fetch(query("erasure", "cancel_deliveries"), *columns):
        await connection.execute(query("deliveries", "cancelled"))
    for name in ("erase_finished", "erase_records", "erase_items"):
        await connection.execute(erasing(name), *columns)
    await connection.execute(erasing("erase_quarantined"), columns[2])
    versions = await connection.fetch(erasing("erase_versions"), *columns)
    await connection.execute(erasing("erase_receipts"), *columns)
    await connection.execute(erasing("erase_attempts"), *columns, None)
    return versions


async def _erase_documents(connection: Connection, documents: list[int]) -> None:
    """Erase what is kept of the documents whose newest version is erased. To be called in a transaction."""
    await connection.execute(erasing("erase_documents"), documents)
    await connection.execute(erasing("erase_transfers"), documents)
    # A computation of transfers that is under way may have read the documents before: it is repeated.
    await transfers.note(connection, documents)


async def _erase_attempts(connection: Connection, receipts: Receipts) -> None:
    """Erase the answers of subscribers, which may be many: an attempt may be made every 15 minutes for months."""
    full = f"UPDATE {ATTEMPTS_PER_PIECE}"
    while await connection.execute(erasing("erase_attempts"), *_columns(receipts), ATTEMPTS_PER_PIECE) == full:
        pass


async def _erase_quarantined(connection: Connection, selection: Selection) -> None:
    if selection.before is None:
        async for page in _quarantined_pages(connection, selection):
            await connection.execute(erasing("erase_quarantined"), page)
        return
    parameters = (selection.platform, selection.account, selection.before, PIECE)
    while rows := await connection.fetch(query("erasure", "quarantined_before"), *parameters):
        await connection.execute(erasing("erase_quarantined"), [row["id"] for row in rows])


async def _quarantined_pages(connection: Connection, selection: Selection) -> AsyncIterator[list[UUID]]:
    """Yield the ids of quarantined messages whose bytes mention what a request selects."""
    names = {name for name in (selection.key, selection.order_number) if name is not None}
    names |= {row["key"] for row in await connection.fetch(query("erasure", "keys"), *selection.request)}
    after: tuple[datetime | None, UUID | None] = (None, None)
    while rows := await connection.fetch(
        query("erasure", "quarantined_of_account"), selection.platform, selection.account, *after, QUARANTINED_PER_PAGE
    ):
        after = rows[-1]["received_at"], rows[-1]["id"]
        page = []
        for row in rows:
            attributes = {name: row[name] for name in ("platform", "event", "content_type", "stage")}
            if mentions(row["raw"], names, **attributes):
                page.append(row["id"])
            await asyncio.sleep(0)  # a large message takes a while, and the store worker has other work
        yield page


def _columns(receipts: Receipts) -> list[list[object]]:
    return [[row[name] for row in receipts] for name in ("document_id", "received_at", "message_id")]


async def _in_transaction(connection: Connection, work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` in a transaction, again if it collides with another one. Raises asyncpg's errors."""
    for attempt in range(1, RETRIES + 1):
        try:
            async with connection.transaction():
                return await work()
        except _COLLISIONS:
            if attempt == RETRIES:
                raise
    raise AssertionError
