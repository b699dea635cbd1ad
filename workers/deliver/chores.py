"""What a deliver worker does beside sending: it writes replays' deliveries, encrypts secrets anew, and sweeps up."""

import asyncio
import logging
from collections.abc import Callable

import asyncpg

from schemas.config import Config
from schemas.dialects import dialects
from schemas.outbound import OPERATOR
from storage import replays, subscriptions
from storage.database import UNAVAILABLE_ERRORS, Database
from storage.sql import query
from storage.vault import Vault

log = logging.getLogger("crossdock.deliver")

POLL = 1.0
"""Seconds between looks for a replay, and after a failure."""
RESEAL = 600.0
"""Seconds between looks for what another key than the first has encrypted."""
REPLAY_PIECE = 500
REPLAY_WAITING = 5000
"""Deliveries of one replay that wait at a time: a long replay must not fill the outbox."""


SWEEP = 60.0
"""Seconds between looks for deliveries of deleted subscriptions."""
SWEEP_PIECE = 1000


class BackgroundJobs:
    """Its methods run until they are cancelled."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        config: Callable[[], Config],
        *,
        on_due: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        """`on_due`: called when something may be due. `on_error`: called when the database was unavailable."""
        self._database = database
        self._vault = vault
        self._config = config
        self._on_due = on_due
        self._on_error = on_error

    async def replay(self) -> None:
        """Writes the deliveries of replays, a piece at a time, no faster than they are sent."""
        while True:
            await asyncio.sleep(POLL)
            try:
                pool = await self._database.pool()
                for row in await pool.fetch(query("replays", "open"), REPLAY_WAITING):
                    async with pool.acquire() as connection:
                        if not await replays.write_piece(connection, row["id"], REPLAY_PIECE, self._scope):
                            self._on_due()
            except UNAVAILABLE_ERRORS as error:
                self._on_error(error)

    async def reseal(self) -> None:
        """After a change of CROSSDOCK_ENCRYPTION_KEY: soon nothing needs the old key any more."""
        while True:
            pause = RESEAL
            try:
                pool = await self._database.pool()
                async with pool.acquire() as connection:
                    count = await subscriptions.reseal(connection, self._vault)
                if count:
                    log.info("encrypted with the first key", extra={"subscriptions": count})
            except UNAVAILABLE_ERRORS as error:
                self._on_error(error)
                pause = POLL
            await asyncio.sleep(pause)

    async def sweep(self) -> None:
        """Cancel deliveries of subscriptions that were deleted while their deliveries were being written."""
        while True:
            pause = SWEEP
            try:
                pool = await self._database.pool()
                swept = await pool.fetch(query("outbox", "sweep"), SWEEP_PIECE)
                if swept:
                    log.info("deliveries of deleted subscriptions cancelled", extra={"deliveries": len(swept)})
                    pause = POLL
            except UNAVAILABLE_ERRORS as error:
                self._on_error(error)
            await asyncio.sleep(pause)

    def _scope(self, row: asyncpg.Record) -> tuple[list[str], list[str] | None]:
        """The accounts that the replay's subscriber may see, and the types that its dialect can say."""
        subscriber = self._config().subscribers.get(row["subscriber"])
        allowed = ["*"] if row["subscriber"] == OPERATOR else list(subscriber.accounts) if subscriber else []
        spoken = dialects().get(row["dialect"])
        if spoken is None:
            return [], []  # a dialect of another version: nothing can be sent in it
        return allowed, None if spoken.types is None else sorted(spoken.types)
