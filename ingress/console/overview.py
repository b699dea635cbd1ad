"""The state of the pipeline, read once for all viewers however many pages show it."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec

from broker.depth_reader import DepthReader, Depths, UnknownDepthsError
from ingress.console.advice import Need
from ingress.console.needs import needs_of
from ingress.database import DatabaseWatch
from schemas.config import Config
from schemas.consumers import PREFIX
from storage import overview
from storage.database import Database
from storage.overview import CAP, AccountHistory, Overview

TIMEOUT = 2.0
"""Seconds for one statement, and for the connection to execute it on."""
FRESH = 2.0
"""Seconds for which what was read serves all viewers."""
RECENT = 10.0
"""Seconds for which it serves the head of other pages, while the next reading is under way."""
PATIENCE = 0.25
"""Seconds that another page waits for it, if nothing recent is known."""
GAP = 30.0
"""Seconds between two readings after which it is not known whether a queue was empty in between."""
RETRY = 5.0
"""Seconds after which a broker that did not answer is asked again, because each viewer would wait for it."""

Histories = Mapping[tuple[str, str], AccountHistory]
"""Messages of two weeks by platform and account."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What was read at one time, and what follows from it."""

    stored: Overview
    history: Histories
    """Messages of two weeks by platform and account."""
    depths: Depths | None
    """None if the broker was not asked, or did not answer."""
    filled_since: Mapping[str, float]
    """Since when each queue that has messages had some whenever somebody looked, by `time.monotonic`.

    It is a queue's own age that the broker does not know: only workers see when a message was received.
    """
    hosts: Mapping[tuple[str, str], str]
    """Where accounts are polled, by platform and account."""
    unknown: str | None
    """Why the depths are not known although the broker was asked."""
    needs: tuple[Need, ...]
    """What needs somebody, the most urgent first."""
    read_at: float
    """When it was read, by `time.monotonic`."""

    @property
    def count(self) -> int:
        """How many things need somebody."""
        return sum(need.kind != "note" for need in self.needs)


class Reader:
    """Reads the database and the broker."""

    def __init__(
        self, watch: DatabaseWatch, database: Database, amqp_url: str | None, config: Callable[[], Config]
    ) -> None:
        """`amqp_url`: None if there is no broker to ask. `config`: returns the configuration of the moment."""
        self._watch = watch
        self._database = database
        self._depths = None if amqp_url is None else DepthReader(amqp_url)
        self._config = config

    async def stored(self) -> tuple[Overview, Histories]:
        """Return what the database has. Raises asyncpg's errors, BusyError and NotOpenError."""
        async with (
            self._watch.connection(self._database, wait_seconds=TIMEOUT) as connection,
            connection.transaction(readonly=True),
        ):
            await connection.execute(f"SET LOCAL statement_timeout = '{TIMEOUT}s'")
            return await overview.read(connection, limit=CAP + 1), await overview.history(connection)

    async def depths(self, consumers: Sequence[str]) -> Depths | None:
        """Return the depths of all queues, with those of these consumers; None if there is no broker to ask.

        Raises UnknownDepthsError.
        """
        if self._depths is None:
            return None
        names = [PREFIX + name for name in consumers]
        return await self._depths.read(
            [*names, *(f"{name}.dead" for name in names)], shards=self._config().store.shards
        )

    def hosts(self) -> dict[tuple[str, str], str]:
        """Return the host (and the port, if it is not the usual one) that each polled account is fetched from."""
        return {
            (platform, name): urlsplit(poll.base_url).netloc
            for platform, accounts in self._config().accounts.items()
            for name, account in accounts.items()
            if (poll := getattr(account, "poll", None)) is not None
        }

    async def close(self) -> None:
        """Close the connection to the broker."""
        if self._depths is not None:
            await self._depths.close()


class OverviewCache:
    """Reads the state when somebody looks, one reading at a time."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._state: State | None = None
        self._reading: asyncio.Task[State] | None = None
        self._broken: tuple[float, str] | None = None
        """When the broker did not answer last, and what was wrong."""

    async def current(self) -> State:
        """Return a state that is at most FRESH seconds old. Raises what reading the database raises."""
        if self._state is not None and time.monotonic() - self._state.read_at < FRESH:
            return self._state
        # A viewer who leaves must not end the reading that others wait for.
        return await asyncio.shield(self._start())

    async def recent_count(self) -> int | None:
        """Return how many things need somebody; None if that is not known now, because no page waits for it long."""
        if (state := self._recent()) is not None:
            if time.monotonic() - state.read_at >= FRESH:
                self._start()
            return state.count
        with suppress(Exception):
            async with asyncio.timeout(PATIENCE):
                return (await asyncio.shield(self._start())).count
        return None

    def known_count(self) -> int | None:
        """Return how many things need somebody, if that is known without reading anything."""
        state = self._recent()
        return None if state is None else state.count

    async def stop(self) -> None:
        """End a reading that is under way, and close the connection to the broker."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))
        await self._reader.close()

    def _recent(self) -> State | None:
        state = self._state
        return state if state is not None and time.monotonic() - state.read_at < RECENT else None

    def _start(self) -> "asyncio.Task[State]":
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read(), name="console-overview")
            # It may end when nobody waits any more.
            self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._reading

    async def _read(self) -> State:
        stored, history = await self._reader.stored()
        depths, unknown = await self._depths(stored)
        before, now = self._state, time.monotonic()
        since = {} if before is None or now - before.read_at > GAP else before.filled_since
        hosts = self._reader.hosts()
        self._state = State(
            hosts=hosts,
            filled_since={name: since.get(name, now) for name, (messages, _) in (depths or {}).items() if messages},
            stored=stored,
            history=history,
            depths=depths,
            unknown=unknown,
            needs=tuple(needs_of(stored, depths, unknown, datetime.now(UTC), hosts)),
            read_at=now,
        )
        return self._state

    async def _depths(self, stored: Overview) -> tuple[Depths | None, str | None]:
        if self._broken is not None and time.monotonic() - self._broken[0] < RETRY:
            return None, self._broken[1]
        try:
            depths = await self._reader.depths(stored.consumers)
        except UnknownDepthsError as error:
            self._broken = (time.monotonic(), str(error))
            return None, str(error)
        self._broken = None
        return depths, None
