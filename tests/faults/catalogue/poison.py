"""One message that ends its worker, or that the database refuses, among neighbours that nothing is wrong with."""

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
"""Seconds from the worker's start in which the neighbours are to be stored."""
SET_ASIDE_WITHIN = 90.0
"""Seconds from the worker's start in which the poison is to be in quarantine."""
TRIES = 3
"""Of its own that a poison has before it is set aside."""
LOOK = 0.2
POISON = b"crossdock-poison-"
REFUSE = POISON + b"refuse"
HANDLED = "SELECT count(*) FROM crossdock.receipts WHERE message_id = ANY ($1::uuid[])"
SET_ASIDE = "SELECT stage, attempts FROM crossdock.quarantine WHERE id = $1"

Hook = Callable[[Site, Body], AbstractAsyncContextManager[None]]


def poisonous(body: Body, text: bytes) -> Body:
    """Return the same document, with a text that something can't bear."""
    raw = body.raw.replace(b"{", b'{"' + POISON + b'": "' + text + b'", ', 1)
    return msgspec.structs.replace(body, raw=raw)


@asynccontextmanager
async def among_neighbours(site: Site, text: bytes, hook: Hook) -> AsyncIterator[None]:
    """A backlog with the poison in its middle, and a store worker that is started on it."""
    (store,) = site.processes["store"]
    await store.stop()
    site.poison = POISON
    poison = poisonous(site.load.fresh("channelape"), text)
    half = [site.load.fresh() for _ in range(NEIGHBOURS // 2)], [site.load.fresh() for _ in range(NEIGHBOURS // 2)]
    before = await site.load.post_all(half[0])
    (bad,) = await site.load.post_all([poison])
    neighbours = [post for post in (*before, *await site.load.post_all(half[1])) if post.accepted]
    try:
        async with hook(site, poison):
            started = time.monotonic()
            store.begin(PYTHONPATH=f"{Path(poisoned.__file__).parent}:{ROOT}")
            if await _are_stored(site, neighbours, started + STORED_WITHIN):
                await _see_set_aside(site, bad, started + SET_ASIDE_WITHIN)
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
    """Wait until all of these are stored, or for the moment `deadline`; return how many are."""
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
        await asyncio.sleep(LOOK)


async def _see_set_aside(site: Site, bad: Post, deadline: float) -> None:
    database = await site.database()
    try:
        row = await database.fetchrow(SET_ASIDE, bad.id)
        while row is None and time.monotonic() < deadline:
            await asyncio.sleep(LOOK)
            row = await database.fetchrow(SET_ASIDE, bad.id)
    finally:
        await database.close()
    if row is None:
        site.unmet.append(f"the poison is not in quarantine within {SET_ASIDE_WITHIN:.0f} s")
    elif (row["stage"], row["attempts"]) != ("failed", TRIES):
        site.unmet.append(f"the poison has stage {row['stage']} and {row['attempts']} attempts")


def _decoder(site: Site, body: Body) -> AbstractAsyncContextManager[None]:
    """The decoder itself is what can't bear it (`tests.faults.poisoned`)."""
    return nullcontext()


def _refusing(site: Site, body: Body, state: str) -> AbstractAsyncContextManager[None]:
    """A trigger raises the error for this document, and for no other."""
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
