"""The poll worker: lease the accounts that are due -> poll each in its own task -> release them, due again later.

When a worker dies, its leases expire and another worker repeats its polls. An order that is published twice is the same
version received twice.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import TypeAlias
from uuid import uuid4

import aiohttp
import asyncpg
from aio_pika.abc import AbstractConnection

from broker import topology
from broker.connection import BrokerConnection
from broker.outgoing import BrokerUnavailableError, explain
from broker.publisher import Publisher
from schemas import envelope
from schemas.config import Config
from storage import polls, roles
from storage.database import UNAVAILABLE_ERRORS, Database, is_row_error
from storage.polls import Place
from telemetry.background import Background
from workers.poll import client, metrics
from workers.poll.client import Client
from workers.poll.limit import PER_MINUTE, Limit
from workers.poll.poller import Poller, StoppingError
from workers.poll.source import Settings, Source, sources

log = logging.getLogger("crossdock.poll")

Key: TypeAlias = tuple[str, str]
"""The names of a platform and an account."""

LEASE = 12.0
"""Seconds until the lease of an account expires, if the worker that holds it does not renew it.

A killed worker is therefore replaced within 15 seconds, whatever the interval of the account.
"""
RENEW = LEASE / 4
"""Seconds between renewals of the leases."""
LOOK = 1.0
"""Seconds between queries for accounts that are due; less if an account has a shorter interval."""
HELD_UP = 2.0
"""Seconds until the next poll if the broker was unavailable."""
MAX_INTERVAL = 900.0
"""Maximum seconds between polls of an account that keeps failing, unless its interval is longer."""
CONFIRM_TIMEOUT = 30.0
"""Maximum seconds to wait for the broker's confirm of a published order."""


class PollWorker:
    """The component that `deploy.process` runs as `crossdock worker poll`."""

    def __init__(self, config: Config, *, amqp_url: str, database_url: str, per_minute: float = PER_MINUTE) -> None:
        """Create the worker without starting it.

        `per_minute` is the maximum number of requests per minute of one API client, over all its accounts and all
        workers.
        """
        self._config = config
        self._shards = config.store.shards
        self._is_binding_verified = False
        """Whether it has been verified that published messages are routed to the store queue."""
        self._database = Database(database_url, size=4, role=roles.POLL)
        self._background = Background()
        self._per_minute = per_minute
        self._name = uuid4()
        self._publisher = Publisher(
            confirm_timeout=CONFIRM_TIMEOUT, on_unhealthy=lambda reason: self._link.switch_node(reason)
        )
        self._link = BrokerConnection(amqp_url, name="poll", on_open=self._on_open, on_lost=self._publisher.on_lost)
        self._http: aiohttp.ClientSession | None = None
        self._clients: dict[tuple[str, str, str, str], Client] = {}
        self._sources = sources()
        self._running: dict[Key, tuple[Poller, asyncio.Task[None]]] = {}
        """The polls under way."""
        self._ok_at: dict[Key, datetime] = {}

    async def start(self) -> None:
        """Start to poll; if the broker or the database is unavailable, wait for it in the background."""
        self._http = client.session()
        self._link.start()
        self._background.start(self._lease(), name="poll-lease")
        self._background.start(self._renew(), name="poll-renew")

    async def stop(self) -> None:
        """Start no more polls, end the running ones after their current page, and release all accounts.

        Polls that have not ended within `[process] drain_timeout` are cancelled.
        """
        await self._background.stop()
        running = dict(self._running)
        for poller, _ in running.values():
            poller.stopping = True
        if running:
            drain = self._config.process.drain_timeout
            _, late = await asyncio.wait([task for _, task in running.values()], timeout=drain)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for api in self._clients.values():
            await api.close()
        if self._http is not None:
            await self._http.close()
        await self._publisher.stop()
        await self._link.stop()
        if self._database.is_open:
            with suppress(Exception):
                async with asyncio.timeout(5):
                    pool = await self._database.pool()
                    for platform in self._sources:
                        await polls.release(pool, platform, _accounts_of(platform, running), self._name, 0.0)
        await self._database.close(5)

    def problems(self) -> list[str]:
        """Return the reasons why no account can be polled now; an empty list if there are none.

        Failures of single accounts are not included; the metrics show them.
        """
        problems = [] if self._link.is_open else [f"no connection to RabbitMQ: {self._link.error}"]
        if self._database.problem is not None:
            problems.append(f"PostgreSQL is unavailable: {self._database.problem}")
        for component in (self._background, self._publisher, self._link):
            problems += component.problems()
        return problems

    def reload(self, config: Config) -> None:
        """Apply new accounts, credentials and intervals to the next polls; running polls keep the old ones."""
        self._config = config
        kept = {
            _client_key(source, settings)
            for source in self._sources.values()
            for settings in self._accounts(source).values()
        }
        for unused in self._clients.keys() - kept:
            del self._clients[unused]

    def _accounts(self, source: Source) -> dict[str, Settings]:
        accounts = self._config.accounts.get(source.platform, {})
        settings_by_name = {name: source.settings(account) for name, account in accounts.items()}
        return {name: settings for name, settings in settings_by_name.items() if settings is not None}

    async def _on_open(self, link: BrokerConnection, connection: AbstractConnection) -> None:
        if not self._is_binding_verified:
            await topology.verify_store_binding(connection, self._shards)
            self._is_binding_verified = True
        self._publisher.use(link.transport, await link.channel(connection, confirms=True))

    async def _lease(self) -> None:
        """Lease the accounts that are due, and poll each of them in its own task."""
        while True:
            accounts_by_source = [(source, self._accounts(source)) for source in self._sources.values()]
            try:
                pool = await self._database.pool()
                for source, accounts in accounts_by_source:
                    await polls.register(pool, source.platform, accounts)
                self._database.worked()
                # While the broker is unavailable, orders could not be published, so none are fetched.
                if self._link.is_open:
                    for source, accounts in accounts_by_source:
                        free = accounts.keys() - _accounts_of(source.platform, self._running)
                        for place in await polls.lease(pool, source.platform, free, self._name, LEASE):
                            self._begin(pool, source, place, accounts[place.account])
            except UNAVAILABLE_ERRORS as error:
                self._on_unavailable(error)
            intervals = [settings.interval for _, accounts in accounts_by_source for settings in accounts.values()]
            await asyncio.sleep(min((LOOK, *intervals)))

    def _begin(self, pool: asyncpg.Pool, source: Source, place: Place, settings: Settings) -> None:
        api = self._client(source, settings)
        poller = Poller(pool, self._publisher, api, source, self._name, place.account, shards=self._shards)
        name = f"poll-{place.account}"
        key = source.platform, place.account
        task = asyncio.get_running_loop().create_task(self._poll(pool, poller, key, place, settings), name=name)
        self._running[key] = poller, task
        task.add_done_callback(lambda _: self._running.pop(key, None))

    def _client(self, source: Source, settings: Settings) -> Client:
        assert self._http is not None
        key = _client_key(source, settings)
        if key not in self._clients:
            limit = Limit(self._database.pool, settings.base_url, settings.client_id, per_minute=self._per_minute)
            self._clients[key] = Client(self._http, source, settings, limit)
        return self._clients[key]

    async def _poll(self, pool: asyncpg.Pool, poller: Poller, key: Key, place: Place, settings: Settings) -> None:
        """Poll one account, and record every failure instead of raising it.

        A failure appears in the log and in the metrics, and determines when the account is due again.
        """
        (platform, account), began = key, time.monotonic()
        mine = platform, account, self._name
        error: str | None = None
        try:
            try:
                await poller.run(place)
                outcome, wait = "ok", max(0.0, settings.interval - (time.monotonic() - began))
                await polls.succeeded(pool, *mine, wait)
                self._succeeded(key, envelope.now())
            except client.FetchError as failure:
                outcome, error = "failed", str(failure)
                await polls.failed(pool, *mine, pause(settings.interval, place.failures), error)
            except polls.LeaseLostError:
                outcome = "lost"
            except StoppingError:
                outcome = "stopped"
                await polls.release(pool, platform, [account], self._name, 0.0)
            except BrokerUnavailableError as failure:
                outcome, error = "no broker", str(explain(failure))
                await polls.release(pool, platform, [account], self._name, HELD_UP)
        except asyncio.CancelledError:
            metrics.record(poller.counts, platform, place, "cancelled", None, time.monotonic() - began)
            raise
        except Exception as failure:
            if isinstance(failure, UNAVAILABLE_ERRORS) and not is_row_error(failure):
                # The account stays leased while the database is unavailable, and is due at once afterwards.
                outcome, error = "no database", self._on_unavailable(failure)
            else:
                outcome, error = "internal error", type(failure).__name__
                log.exception("poll failed", extra={"account": account})
                with suppress(*UNAVAILABLE_ERRORS):
                    await polls.failed(pool, *mine, pause(settings.interval, place.failures), error)
        metrics.record(poller.counts, platform, place, outcome, error, time.monotonic() - began)

    async def _renew(self) -> None:
        """Renew the leases of running polls, and cancel polls that another worker has taken over."""
        while True:
            try:
                pool = await self._database.pool()
                for platform in self._sources:
                    running = {key: task for key, (_, task) in self._running.items() if key[0] == platform}
                    if not running:
                        continue
                    kept = await polls.renew(pool, platform, _accounts_of(platform, running), self._name, LEASE)
                    for key, task in running.items():
                        if key[1] not in kept and self._running.get(key, (None, None))[1] is task:
                            task.cancel()
                await self._measure(pool)
            except UNAVAILABLE_ERRORS as error:
                self._on_unavailable(error)
            await asyncio.sleep(RENEW)

    async def _measure(self, pool: asyncpg.Pool) -> None:
        """Update the metric of each account's last success, even if another worker polled it."""
        succeeded: dict[Key, datetime] = {}
        configured: set[Key] = set()
        for platform, source in self._sources.items():
            accounts = self._accounts(source)
            configured |= {(platform, account) for account in accounts}
            ok_at = await polls.successes(pool, platform, accounts)
            succeeded |= {(platform, account): at for account, at in ok_at.items()}
        for key in self._ok_at.keys() - configured:
            del self._ok_at[key]
            with suppress(KeyError):
                metrics.SINCE.remove(key[1])
        for key, at in succeeded.items():
            self._succeeded(key, at)

    def _succeeded(self, key: Key, at: datetime) -> None:
        self._ok_at[key] = at
        metrics.SINCE.labels(key[1]).set_function(lambda: (envelope.now() - at).total_seconds())

    def _on_unavailable(self, error: BaseException) -> str:
        reason = self._database.failed(error)
        log.warning("database unavailable", extra={"reason": reason})
        return reason


def pause(interval: float, failures: int) -> float:
    """Return the seconds until the next poll after a failure: 1, 2, 4, 8 … intervals, ±10 %, up to `MAX_INTERVAL`.

    `failures` is the number of failures before this one. With an interval of 60 s, polls follow 1, 3, 7 and 15 minutes
    after the first failure, then every 15 minutes.
    """
    longest = max(interval, MAX_INTERVAL)
    wait: float = min(longest, interval * 2.0 ** min(failures, 30))
    return wait * random.uniform(0.9, 1.1)  # noqa: S311 - jitter, not a secret


def _accounts_of(platform: str, keys: Iterable[Key]) -> list[str]:
    return [account for name, account in keys if name == platform]


def _client_key(source: Source, settings: Settings) -> tuple[str, str, str, str]:
    """Return what decides whether two accounts share a client."""
    return source.platform, settings.base_url, settings.client_id, settings.client_secret
