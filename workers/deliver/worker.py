"""The deliver worker: lease subscriptions -> find due deliveries -> load their content -> send -> write the results.

A subscription is leased as a whole, so its rate, limits and circuit breaker are exact, and no row is written to claim a
delivery. No transaction is open during an HTTP request. When a worker dies, its leases expire. Another worker then
sends again what was under way, with the same IDs.
"""

import asyncio
import logging
import resource
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import get_args
from uuid import UUID, uuid4

from schemas.config import Config
from schemas.destinations.guard import Guard
from storage import roles
from storage.database import UNAVAILABLE_ERRORS, Database
from storage.sql import query
from storage.vault import Vault
from telemetry.background import Background, drain
from workers.deliver import backlog, metrics
from workers.deliver.attempt.sender import Sender
from workers.deliver.background_jobs import BackgroundJobs
from workers.deliver.breaker import State
from workers.deliver.dispatcher import Dispatcher
from workers.deliver.feeder import Feeder
from workers.deliver.leases import Leases
from workers.deliver.loader import BUDGET, Loader
from workers.deliver.notifications import Notifications
from workers.deliver.settings import SubscriptionSettings
from workers.deliver.shares import FairLimit
from workers.deliver.writer import AttemptWriter, Result

log = logging.getLogger("crossdock.deliver")

ATTEMPTS = 8000
"""Maximum number of attempts under way in one process, shared fairly among subscribers.

It is lower if the operating system allows fewer open files.
"""
OTHER_FILES = 300
"""Open files reserved for database connections, name look-ups, logs and idle connections to subscribers."""


class DeliverWorker:
    """The component that `deploy.process` runs as `crossdock worker deliver`."""

    def __init__(self, config: Config, *, database_url: str, vault: Vault) -> None:
        self._config = config
        self._vault = vault
        self._name = uuid4()
        delivery = config.delivery
        self._sender = Sender(Guard(delivery.allow_networks, delivery.allow_http), delivery.timeout)
        self._database = Database(database_url, size=4, role=roles.DELIVER)
        self._background = Background()
        self._writing = Background()
        self._dispatchers: dict[UUID, Dispatcher] = {}
        self._unwritten: set[UUID] = set()
        """Deliveries whose result has not been written to the database yet."""
        self.attempts = FairLimit(_max_attempts())
        self.bytes_in_use = FairLimit(BUDGET)
        self._writer = AttemptWriter(self._database, self._unwritten.difference_update)
        self._feeder = Feeder(
            self._database, self._name, self._dispatchers, self._unwritten, on_unavailable=self._on_unavailable
        )
        self._leases = Leases(
            self._database,
            self._name,
            self._dispatchers,
            self._feeder,
            vault,
            config=lambda: self._config,
            create=lambda settings, health: Dispatcher(settings, self._sender, self, health),
            on_unavailable=self._on_unavailable,
        )
        self._loader = Loader(
            self._database,
            self._name,
            self.bytes_in_use,
            config=lambda: self._config,
            on_stale=self._leases.on_changed,
            on_unavailable=self._on_unavailable,
        )
        self.notifications = Notifications(
            database_url,
            on_due=self._leases.on_due,
            on_changed=self._leases.on_changed,
            on_invalidated=self._leases.invalidate_loaded,
        )
        self.request_deliveries: Callable[[Dispatcher], None] = self._feeder.request
        """Fetch deliveries that are due, and enqueue them in the dispatcher."""
        self.request_content: Callable[[Dispatcher], None] = self._loader.request
        """Load the content of deliveries that are about to be attempted."""
        self._export_metrics()

    async def start(self) -> None:
        """Start to send deliveries; if the database is unavailable, wait for it in the background."""
        await self._sender.start()
        self._writer.start(self._writing)
        jobs = BackgroundJobs(
            self._database, self._vault, lambda: self._config, on_due=self._leases.on_due, on_error=self._on_unavailable
        )
        for name, task in {
            "listen": self.notifications.run(),
            "lease": self._leases.take(),
            "renew": self._leases.renew(),
            "fetch": self._feeder.run(),
            "load": self._loader.run(),
            "replay": jobs.replay(),
            "reseal": jobs.reseal(),
            "sweep": jobs.sweep(),
            "backlog": backlog.watch(self._database, self._name, self._leases.waiting_for_servers),
        }.items():
            self._background.start(task, name=f"deliver-{name}")
        self._leases.on_due()

    async def stop(self) -> None:
        """Start no more attempts, wait for those under way, write their results and release all leases.

        The wait is limited to `[process] drain_timeout`. An attempt that has not finished by then is cancelled, and
        repeated by another worker or after a restart.
        """
        await self._background.stop()
        attempts = [task for dispatcher in self._dispatchers.values() for task in dispatcher.close()]
        await drain([*attempts, *self._leases.finishing], self._config.process.drain_timeout)
        await self._writer.drain(3.0)
        await self._writing.stop()
        if self._database.is_open:
            with suppress(Exception):
                async with asyncio.timeout(3):
                    pool = await self._database.pool()
                    await pool.execute(query("outbox", "release"), self._name, self._leases.leased)
        await self._database.close(3)
        await self._sender.close()

    def problems(self) -> list[str]:
        """Return the reasons why no delivery can be sent now; an empty list if there are none."""
        reasons = [reason for reason in (self._database.problem, self._writer.problem) if reason is not None]
        problems = [f"PostgreSQL is unavailable: {reason}" for reason in reasons]
        return problems + self._background.problems() + self._writing.problems()

    def reload(self, config: Config) -> None:
        """Apply a new configuration.

        Schedules, limits and subscribers apply from the next attempt on. The time-out and the allowed networks apply
        only after a restart of the process.
        """
        self._config = config
        self._leases.on_changed()

    # The interface for dispatchers (`dispatcher.DispatcherHost`).

    def record(self, result: Result) -> None:
        """Write the result of an attempt; its delivery is not fetched again before that is done."""
        self._unwritten.add(result.id)
        self._writer.add(result)

    def on_pause_requested(self, settings: SubscriptionSettings, seconds: float) -> None:
        """Store, for all workers and across restarts, that a server asked for a pause."""
        task = asyncio.get_running_loop().create_task(self._pause(settings, seconds), name="deliver-pause")
        self._leases.track(task)

    async def on_gone(self, settings: SubscriptionSettings) -> bool:
        """Disable a subscription whose server answered 410; return whether it was disabled.

        Nothing is changed if the subscription was changed since its settings were read, or if the database is
        unavailable.
        """
        reason = "answered 410 Gone"
        try:
            pool = await self._database.pool()
            disabled = await pool.fetchval(
                query("outbox", "disable"), settings.id, reason, settings.url, settings.updated_at
            )
        except UNAVAILABLE_ERRORS as error:
            self._on_unavailable(error)
            return False  # the next attempt will be answered 410 too
        if disabled is None:
            self._leases.on_changed()
            return False
        log.warning("subscription disabled", extra={"subscription": str(settings.id), "reason": reason})
        metrics.DISABLED.inc()
        self._leases.close(settings.id)
        return True

    async def _pause(self, settings: SubscriptionSettings, seconds: float) -> None:
        try:
            pool = await self._database.pool()
            await pool.execute(query("outbox", "pause"), settings.id, seconds, settings.url)
        except UNAVAILABLE_ERRORS as error:
            self._on_unavailable(error)  # the dispatcher of this worker pauses in any case

    def _export_metrics(self) -> None:
        metrics.IN_FLIGHT.set_function(lambda: sum(dispatcher.in_flight for dispatcher in self._dispatchers.values()))
        metrics.SUBSCRIPTIONS.set_function(lambda: len(self._dispatchers))
        for state in get_args(State):
            metrics.BREAKERS.labels(state).set_function(partial(self._breakers, state))

    def _breakers(self, state: State) -> int:
        return sum(dispatcher.breaker == state for dispatcher in self._dispatchers.values())

    def _on_unavailable(self, error: BaseException) -> None:
        log.warning("database unavailable", extra={"reason": self._database.failed(error)})


def _max_attempts() -> int:
    """Raise the limit on open files as far as needed and allowed; return how many attempts may be under way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = ATTEMPTS + OTHER_FILES
    if soft < needed:
        with suppress(ValueError, OSError):  # some systems report no limit although they have one
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard) if hard >= 0 else needed, hard))
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(100, min(ATTEMPTS, soft - OTHER_FILES))
