"""Background jobs of the deliver worker: writing replays, re-encrypting secrets, cancelling orphaned deliveries."""

import asyncio
import logging
from collections.abc import Callable

import asyncpg

from schemas.config import Config
from schemas.dialects import dialects
from schemas.outbound import allowed_accounts
from storage import replays, subscriptions
from storage.database import UNAVAILABLE_ERRORS, Database
from storage.sql import query
from storage.vault import Vault

log = logging.getLogger("crossdock.deliver")

POLL = 1.0
"""Seconds between queries for open replays, and until a job runs again after a failure."""
RESEAL = 600.0
"""Seconds between queries for secrets that are not encrypted with the first key."""
REPLAY_PIECE = 500
"""Maximum number of deliveries of a replay that are written in one transaction."""
REPLAY_WAITING = 5000
"""Maximum number of pending deliveries per replay, so that a long replay does not fill the outbox."""


SWEEP = 60.0
"""Seconds between queries for deliveries of deleted subscriptions."""
SWEEP_PIECE = 1000
"""Maximum number of deliveries of deleted subscriptions that are cancelled in one statement."""


class BackgroundJobs:
    """The jobs of one worker, one method each; every job runs until it is cancelled."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        config: Callable[[], Config],
        *,
        on_due: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        """Create the jobs without starting them.

        `on_due` is called when deliveries may have become due, and `on_error` with the error when the database is
        unavailable.
        """
        self._database = database
        self._vault = vault
        self._config = config
        self._on_due = on_due
        self._on_error = on_error

    async def replay(self) -> None:
        """Write the deliveries of open replays piece by piece, no faster than they are sent."""
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
        """Encrypt all secrets with the first key of CROSSDOCK_ENCRYPTION_KEY, so that old keys can be removed soon."""
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
        """Return the accounts that the subscriber of a replay may see, and the event types that its dialect supports.

        None instead of types means every type.
        """
        dialect = dialects().get(row["dialect"])
        if dialect is None:
            return [], []  # the dialect belongs to another version of Crossdock, so nothing can be sent
        allowed = allowed_accounts(row["subscriber"], self._config())
        return allowed, None if dialect.types is None else sorted(dialect.types)
