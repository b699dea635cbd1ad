"""Receives PostgreSQL's notifications about deliveries and subscriptions.

They only save time, because the worker also queries the database regularly.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from storage import pool as pools
from storage import roles
from storage.database import UNAVAILABLE_ERRORS, explain

log = logging.getLogger("crossdock.deliver")

DUE, CHANGED = "crossdock_outbox", "crossdock_subscriptions"
"""Channels: a delivery may be due; a subscription was changed."""
CANCELLED = "cancelled"
"""Payload of a notification on DUE if a delivery was cancelled."""
PAUSE = 1.0
"""Seconds until the next connection after one was lost or failed."""


class Notifications:
    """A connection that receives notifications and is opened again whenever it is lost."""

    def __init__(
        self,
        database_url: str,
        *,
        on_due: Callable[[], None],
        on_changed: Callable[[], None],
        on_invalidated: Callable[[], None],
    ) -> None:
        """Configure the connection without opening it; `run` does the work.

        `on_due` is called if a delivery may be due, and `on_changed` if a subscription was changed. `on_invalidated` is
        called if a delivery was cancelled, and when the connection is lost, because a cancellation may be missed.
        """
        self._database_url = database_url
        self._on_due = on_due
        self._on_changed = on_changed
        self._on_invalidated = on_invalidated
        self.is_active = False
        """Whether notifications are received now."""

    async def run(self) -> None:
        """Receive notifications until cancelled."""
        while True:
            try:
                await self._receive()
            except UNAVAILABLE_ERRORS as error:
                log.warning(
                    "no notifications from PostgreSQL, deliveries are found by polling", extra={"error": explain(error)}
                )
            await asyncio.sleep(PAUSE)

    async def _receive(self) -> None:
        closed = asyncio.Event()
        connection = await pools.connect(self._database_url, name="crossdock deliver", role=roles.DELIVER)
        try:
            connection.add_termination_listener(lambda _: closed.set())
            await connection.add_listener(DUE, self._notified)
            await connection.add_listener(CHANGED, lambda *_: self._on_changed())
            self._on_due()
            self.is_active = True
            await closed.wait()
        finally:
            self.is_active = False
            self._on_invalidated()
            with suppress(Exception):
                await connection.close(timeout=1)

    def _notified(self, *arguments: object) -> None:
        if arguments[-1] == CANCELLED:
            self._on_invalidated()
        self._on_due()
