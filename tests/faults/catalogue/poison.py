"""One message that ends its worker, or that the database refuses, among neighbours without a defect."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from uuid import UUID

import msgspec

from tests.faults import poisoned
from tests.faults.catalogue.unavailable import trigger
from tests.faults.ledger import Body, Post
from tests.faults.site import ROOT, Site
from tests.faults.trial import UNAVAILABLE, Fault

NEIGHBOURS = 2000
"""Messages beside the poison: a whole prefetch."""
STORED_WITHIN = 30.0
"""Seconds from the worker's start in which the neighbours must be stored."""
QUARANTINED_WITHIN = 90.0
"""Seconds from the worker's start in which the poison must be in quarantine."""
ATTEMPTS = 3
"""Attempts by itself after which the poison is quarantined."""
POLL_INTERVAL = 0.2
POISON = b"crossdock-poison-"
REFUSE = POISON + b"refuse"
HANDLED = "SELECT count(*) FROM crossdock.receipts WHERE message_id = ANY ($1::uuid[])"
QUARANTINED = "SELECT stage, attempts FROM crossdock.quarantine WHERE id = $1"

Hook = Callable[[Site, Body], AbstractAsyncContextManager[None]]


def poisonous(body: Body, text: bytes) -> Body:
    """Return the same document, with a text that makes its processing fail."""
    raw = body.raw.replace(b"{", b'{"' + POISON + b'": "' + text + b'", ', 1)
    return msgspec.structs.replace(body, raw=raw)


@asynccontextmanager
async def among_neighbours(site: Site, text: bytes, hook: Hook) -> AsyncIterator[None]:
    """Put the poison in the middle of a backlog, and start a store worker on it."""
    (store,) = site.processes["store"]
    await store.stop()
    site.poison = POISON
    poison = poisonous(site.load.fresh("channelape"), text)
    half = [site.load.fresh() for _ in range(NEIGHBOURS // 2)], [site.load.fresh() for _ in range(NEIGHBOURS // 2)]
    before = await site.load.post_all(half[0])
    (poisonous_post,) = await site.load.post_all([poison])
    neighbours = [post for post in (*before, *await site.load.post_all(half[1])) if post.accepted]
    try:
        async with hook(site, poison):
            started = time.monotonic()
            store.begin(PYTHONPATH=f"{Path(poisoned.__file__).parent}:{ROOT}")
            if await _are_stored(site, neighbours, started + STORED_WITHIN):
                await _check_quarantined(site, poisonous_post, started + QUARANTINED_WITHIN)
        yield
    finally:
        await store.stop()
        await store.start()


async def _are_stored(site: Site, neighbours: Sequence[Post], deadline: float) -> bool:
    ids = [post.id for post in neighbours if post.id is not None]
    left = len(ids) - await until_stored(site, ids, deadline)
    if left:
        site.unmet.append(f"{left} of {len(ids)} neighbours are not stored within {STORED_WITHIN:.0f} s")
    return not left


async def until_stored(site: Site, ids: Sequence[UUID], deadline: float) -> int:
    """Wait until all of these are stored, at most until the monotonic time `deadline`; return how many are."""
    stored = 0
    while True:
        with suppress(*UNAVAILABLE):
            database = await site.database()
            try:
                stored = int(await database.fetchval(HANDLED, ids))
            finally:
                await database.close()
        if stored == len(ids) or time.monotonic() > deadline:
            return stored
        await asyncio.sleep(POLL_INTERVAL)


async def _check_quarantined(site: Site, post: Post, deadline: float) -> None:
    database = await site.database()
    try:
        row = await database.fetchrow(QUARANTINED, post.id)
        while row is None and time.monotonic() < deadline:
            await asyncio.sleep(POLL_INTERVAL)
            row = await database.fetchrow(QUARANTINED, post.id)
    finally:
        await database.close()
    if row is None:
        site.unmet.append(f"the poison is not in quarantine within {QUARANTINED_WITHIN:.0f} s")
    elif (row["stage"], row["attempts"]) != ("failed", ATTEMPTS):
        site.unmet.append(f"the poison has stage {row['stage']} and {row['attempts']} attempts")


def _decoder(site: Site, body: Body) -> AbstractAsyncContextManager[None]:
    """Do nothing: the decoder of the worker fails by itself (`tests.faults.poisoned`)."""
    return nullcontext()


def _refusing(site: Site, body: Body, state: str) -> AbstractAsyncContextManager[None]:
    """Create a trigger that raises the error for this document only."""
    assert "'" not in body.key
    return trigger(site, f"('{state}')", "documents", f"NEW.key = '{body.key}'")


def _fault(name: str, text: bytes, hook: Hook = _decoder) -> Fault:
    name = f"poison among {NEIGHBOURS:,} neighbours: {name}"
    return Fault(name, partial(among_neighbours, text=text, hook=hook), 0.0, slow=True)


FAULTS = (
    _fault("kills its worker", POISON + b"kill"),
    _fault("hangs its worker", POISON + b"hang"),
    _fault("makes PostgreSQL fail with XX000", REFUSE, partial(_refusing, state="XX000")),
    _fault("makes PostgreSQL fail with 53200", REFUSE, partial(_refusing, state="53200")),
)
