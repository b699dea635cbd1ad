"""Stores what comes in: take -> decode -> write (one transaction) -> publish events -> ack.

Each of these steps may be repeated. A batch that dies anywhere is delivered again, changes nothing that was written,
and has its events published again under the same ids.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial

from aio_pika.abc import AbstractConnection

from broker import depths
from broker.connection import BrokerConnection
from broker.consumer import ByteBudget, Consumer, IncomingMessage
from broker.publisher import Publisher
from schemas import topology
from schemas.config import Config
from storage import roles
from storage.database import Database
from telemetry.background import Background
from workers.runtime import watchdog
from workers.runtime.batch_consumer import BatchConsumer
from workers.runtime.outcomes import Outcome, UnavailableError
from workers.store import backfill, intake, isolate, jobs, observe, prepare, transfers
from workers.store.activity import ActivityCounter
from workers.store.announcer import Announcer
from workers.store.erasures import Erasures
from workers.store.isolate import FailureHistory
from workers.store.moments import Moments
from workers.store.outbox import Outbound
from workers.store.prepare import Incoming
from workers.store.rehearse import Rehearsals
from workers.store.stations import Stations
from workers.store.write import WriteResult

log = logging.getLogger("crossdock.store")

Job = Callable[[], Coroutine[object, None, None]]

CONFIRM_TIMEOUT = 10.0
"""Seconds for the confirms of a batch's events."""
MAX_CONCURRENT_BATCHES = 6
"""Batches at a time: one is decoded while others commit or wait for confirms."""
MAX_HELD_BYTES = 48 * 1024 * 1024
"""Bytes of bodies that were received and are not settled. With the batches under way, each of which takes several times
its bodies, a worker stays within 512 MiB, as a test and the Kubernetes manifests require."""
JOB_CONNECTIONS = 3
"""Maximum connections to PostgreSQL for the jobs beside storing: an erasure, transfers, and all others in turn."""
JOB_SPACING = 0.05
"""Seconds between the starts of two jobs, so that one connection serves all of them while they have little to do."""
DATABASE_CLOSE_TIMEOUT = 5.0
"""Seconds for closing the database when the worker stops."""
ACTIVITY_TIMEOUT = 2.0
"""Seconds for writing the counts of the last messages before that."""


class StoreWorker:
    """The component of a store worker process (`deploy.process.Component`)."""

    def __init__(
        self, config: Config, *, amqp_url: str, database_url: str, shards: Sequence[int] | None = None
    ) -> None:
        """`shards`: the inbound queues to take from, counted from 0; by default all that the configuration has."""
        self._config = config
        self._database = Database(database_url, size=config.store.connections, name="crossdock store", role=roles.STORE)
        # A job may keep a connection for hours (an erasure by age), so that jobs never borrow one that stores.
        self._jobs_database = Database(
            database_url,
            size=JOB_CONNECTIONS,
            name="crossdock store jobs",
            role=roles.STORE,
            beside=self._database,
        )
        self._background = Background()
        self._publisher = Publisher(confirm_timeout=CONFIRM_TIMEOUT, on_unhealthy=self._switch_node)
        self._announcer = Announcer(self._publisher)
        self._consumers = _consumers(config, shards or range(config.store.shards))
        self._batch_consumers = [self._batch_consumer(consumer) for consumer in self._consumers]
        self._stations = Stations(partial(self._handle, topology.DEAD), self._quarantine_unroutable, probe=self._probe)
        self._consume_connection = BrokerConnection(
            amqp_url, name="store-in", on_open=self._on_consumers, on_lost=self._on_lost
        )
        self._publish_connection = BrokerConnection(
            amqp_url, name="store-out", on_open=self._on_publisher, on_lost=self._publisher.on_lost
        )
        self._stations_connection = BrokerConnection(
            amqp_url, name="store-stations", on_open=self._stations.on_open, on_lost=self._stations.on_lost
        )
        self._outbound = _outbound(config)
        self._failures = FailureHistory()
        self._rehearsals = Rehearsals()
        self._amqp_url = amqp_url
        self._shards = config.store.shards
        self._activity = ActivityCounter(self._jobs_database.pool)
        self._moments = Moments(self._database.pool)
        self._erasures = Erasures(self._jobs_database.pool, self._publisher, lambda: self._config.storage)
        self._to_index, self._to_compute = asyncio.Event(), asyncio.Event()
        """Set whenever something was stored: identifiers are to be indexed, and transfers to be computed."""

    def _batch_consumer(self, consumer: Consumer) -> BatchConsumer:
        store = self._config.store
        return BatchConsumer(
            consumer,
            partial(self._handle, consumer.queue),
            probe=self._probe,
            batch=store.batch,
            wait=store.batch_wait,
            drain_timeout=self._config.process.drain_timeout,
            max_batches=_divide_up(MAX_CONCURRENT_BATCHES, len(self._consumers)),
        )

    async def start(self) -> None:
        """Connect, and begin to store. If the database is unavailable, wait for it in the background."""
        for connection in (self._publish_connection, self._consume_connection, self._stations_connection):
            connection.start()
        for batch_consumer in self._batch_consumers:
            batch_consumer.start(self._background)
        start, pool = self._background.start, self._jobs_database.pool
        start(self._stations.run(), name="way stations")
        start(self._moments.run(), name="clocks")
        start(watchdog.run(), name="watchdog")
        consumer_queues = partial(jobs.consumer_queues, pool)
        each: dict[str, Job] = {
            "maintenance": partial(jobs.maintain_partitions, pool, lambda: self._config.storage.retention_days),
            "erasures": self._erasures.run,
            "events of erasures": self._erasures.publish_events,
            "depths": partial(depths.watch, self._amqp_url, consumer_queues, shards=self._shards),
            "back-fill": partial(backfill.run, pool),
            "index": partial(jobs.index_identifiers, pool, self._to_index),
            "quarantine": partial(jobs.watch_quarantine, pool),
            "transfers": partial(transfers.keep_transfers, pool, self._is_saturated, self._to_compute),
            "late transfers": partial(transfers.watch_transfers, pool),
            "arrivals": self._activity.run,
        }
        for position, (name, job) in enumerate(each.items()):
            start(_begin_after(position * JOB_SPACING, job), name=name)

    async def stop(self) -> None:
        """Take no more messages, finish and acknowledge those in hand, and close the connections."""
        await asyncio.gather(*(batch_consumer.stop() for batch_consumer in self._batch_consumers))
        await self._background.stop()
        if self._jobs_database.is_open:
            with suppress(Exception):
                pool = await self._jobs_database.pool()
                async with asyncio.timeout(ACTIVITY_TIMEOUT), pool.acquire() as connection:
                    await self._activity.write(connection)
        await self._publisher.stop()
        await asyncio.gather(self._consume_connection.stop(), self._stations_connection.stop())
        await self._publish_connection.stop()
        await asyncio.gather(*(each.close(DATABASE_CLOSE_TIMEOUT) for each in (self._database, self._jobs_database)))

    def problems(self) -> list[str]:
        """Return why a message can't be stored now; an empty list if it can."""
        problems = [
            f"no connection to RabbitMQ: {connection.error}"
            for connection in (self._consume_connection, self._publish_connection)
            if not connection.is_open
        ]
        if self._database.problem is not None:
            problems.append(f"PostgreSQL is unavailable: {self._database.problem}")
        reasons = {
            consumer.unavailable_reason for consumer in self._batch_consumers if consumer.unavailable_reason is not None
        }
        problems += [f"held up: {reason}" for reason in sorted(reasons)]
        for component in (
            self._background,
            self._publisher,
            self._consume_connection,
            self._publish_connection,
            self._stations_connection,
        ):
            problems += component.problems()
        return problems

    def reload(self, config: Config) -> None:
        """Use a new configuration from the next batch on; batch sizes and connections only change with a restart."""
        self._config = config
        self._outbound = _outbound(config)

    def _is_saturated(self) -> bool:
        """Return whether any queue has a backlog."""
        return any(batch_consumer.is_saturated for batch_consumer in self._batch_consumers)

    def _on_lost(self) -> None:
        """Drop the messages in hand; the broker delivers them again, marked as redelivered."""
        for consumer in self._consumers:
            consumer.on_lost()

    async def _on_consumers(self, link: BrokerConnection, connection: AbstractConnection) -> None:
        for consumer in self._consumers:
            await consumer.on_open(link, connection)

    def _switch_node(self, reason: str) -> None:
        self._publish_connection.switch_node(reason)

    async def _on_publisher(self, link: BrokerConnection, connection: AbstractConnection) -> None:
        self._publisher.use(link.transport, await link.channel(connection, confirms=True))

    async def _probe(self) -> None:
        """Show that a message could be stored now. Raises UnavailableError if not."""
        try:
            pool = await self._database.pool()
            await self._moments.compare_clocks(pool)
            await isolate.control(pool)
        except Exception as error:
            raise UnavailableError(f"the database is unavailable ({self._database.failed(error)})") from error
        self._database.worked()

    async def _handle(self, queue: str, batch: Sequence[IncomingMessage]) -> list[Outcome]:
        """Store a batch, and return one outcome per message. Raises UnavailableError."""
        suspects = await self._rehearsals.find_suspects(batch, self._config)
        if not suspects:
            return await self._store(queue, batch, {})
        if len(batch) == 1:
            conviction = await self._rehearsals.convict(batch[0], suspects[0], self._config)
            return await self._store(queue, batch, {} if conviction is None else {0: conviction})
        # The others are stored at once, and a suspect is tried alone, later: it takes a while to find out whether a
        # message that takes minutes is to blame, and no other message may wait for that.
        others = [index for index in range(len(batch)) if index not in suspects]
        outcomes = dict(zip(others, await self._store(queue, [batch[index] for index in others], {}), strict=True))
        return [outcomes.get(index, Outcome.HELD) for index in range(len(batch))]

    async def _store(
        self, queue: str, batch: Sequence[IncomingMessage], quarantine_reasons: Mapping[int, str]
    ) -> list[Outcome]:
        """Decode, write and announce a batch. Raises UnavailableError.

        `quarantine_reasons`: why messages, by index, are put into quarantine without being read.
        """
        if not batch:
            return []
        watchdog.arm()  # for this batch alone: several may become due in one turn of the loop
        started = time.perf_counter()
        config = self._config
        incoming = [
            intake.decode(message, config, quarantine_reasons.get(index)) for index, message in enumerate(batch)
        ]
        decoded = time.perf_counter()
        written = await self._write(incoming)
        stored = time.perf_counter()
        await self._announcer.announce(written, config.api.public_url)
        done = time.perf_counter()
        try:
            seconds = observe.Durations(decoded - started, stored - decoded, done - stored)
            observe.batch_done(queue, incoming, written, seconds)
            self._activity.count(message.envelope for message in incoming if message.envelope.account)
        except Exception:
            # The batch is stored and announced, so it is acknowledged all the same.
            log.exception("metrics or traces of a stored batch failed")
        if written.held:
            return [Outcome.HELD if message.message_id in written.held else Outcome.DONE for message in incoming]
        return [Outcome.DONE] * len(batch)

    async def _write(self, incoming: Sequence[Incoming]) -> WriteResult:
        """Write messages in one transaction. Raises UnavailableError."""
        try:
            pool = await self._database.pool()
            corrected = await self._moments.correct(pool, incoming)
            written = await isolate.write_isolating(pool, corrected, self._outbound, self._failures)
        except Exception as error:
            raise UnavailableError(f"the database is unavailable ({self._database.failed(error)})") from error
        self._database.worked()
        self._to_index.set()
        self._to_compute.set()
        return written

    async def _quarantine_unroutable(self, received: IncomingMessage, routing_key: str) -> None:
        """Put a message that no queue took into quarantine. Raises UnavailableError."""
        reason = f"no queue took it (routing key {routing_key!r})"
        message = intake.quarantine(received, prepare.UNROUTED, reason, routing_key=routing_key)
        if (await self._write([message])).held:
            raise UnavailableError("the database takes other messages, but not this one")
        observe.count_quarantined([message])


def _consumers(config: Config, shards: Sequence[int]) -> list[Consumer]:
    """Return one consumer per shard; together they hold about the configured number of messages, rounded up."""
    prefetch, budget = _divide_up(config.store.prefetch, len(shards)), ByteBudget(MAX_HELD_BYTES)
    return [Consumer(topology.store_queue(shard), prefetch=prefetch, budget=budget, suspended=True) for shard in shards]


async def _begin_after(seconds: float, job: Job) -> None:
    await asyncio.sleep(seconds)
    await job()


def _divide_up(total: int, count: int) -> int:
    """Return a part of `total` for each of `count`, rounded up."""
    return -(-total // count)


def _outbound(config: Config) -> Outbound:
    return Outbound(config.subscribers, next(iter(config.delivery.schedule), 0.0))
