"""What a deliver worker does beside sending: deliveries of replays are written, secrets encrypted anew."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import asyncpg

from schemas.config import Config
from schemas.dialects import dialect
from schemas.outbound import OPERATOR
from storage import replays, subscriptions
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


class Chores:
    """Its methods run until they are cancelled."""

    def __init__(
        self,
        pool: Callable[[], Awaitable[asyncpg.Pool]],
        vault: Vault,
        config: Callable[[], Config],
        *,
        due: Callable[[], None],
        away: Callable[[Exception], None],
    ) -> None:
        """`due` is told that something may be due, `away` of every failure."""
        self._pool = pool
        self._vault = vault
        self._config = config
        self._due = due
        self._away = away

    async def replay(self) -> None:
        """Writes the deliveries of replays, a piece at a time, no faster than they are sent."""
        while True:
            await asyncio.sleep(POLL)
            try:
                pool = await self._pool()
                for row in await pool.fetch(query("replays", "open"), REPLAY_WAITING):
                    async with pool.acquire() as connection:
                        if not await replays.write_piece(connection, row["id"], REPLAY_PIECE, self._scope):
                            self._due()
            except Exception as error:
                self._away(error)

    async def reseal(self) -> None:
        """After a change of CROSSDOCK_ENCRYPTION_KEY: soon nothing needs the old key any more."""
        while True:
            pause = RESEAL
            try:
                pool = await self._pool()
                async with pool.acquire() as connection:
                    count = await subscriptions.reseal(connection, self._vault)
                if count:
                    log.info("encrypted with the first key", extra={"subscriptions": count})
            except Exception as error:
                self._away(error)
                pause = POLL
            await asyncio.sleep(pause)

    def _scope(self, row: asyncpg.Record) -> tuple[list[str], list[str] | None]:
        """The accounts that the replay's subscriber may see, and the types that its dialect can say."""
        subscriber = self._config().subscribers.get(row["subscriber"])
        allowed = ["*"] if row["subscriber"] == OPERATOR else list(subscriber.accounts) if subscriber else []
        said = dialect(row["dialect"]).types
        return allowed, None if said is None else sorted(said)
