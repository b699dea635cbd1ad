"""Stores what comes in: take -> decode -> write (one transaction) -> publish events -> ack.

Confirm, commit, publish, ack: in that order, and every step may be repeated. A batch that dies anywhere comes again,
changes nothing that was written, and has its events published again under the same ids.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import asyncpg
from aiormq.abc import AbstractConnection

from broker import depths, outgoing, publisher
from broker.connection import Link
from broker.consumer import Consumer, Delivery
from schemas import envelope, topology
from schemas.config import Config
from storage import maintenance
from storage import pool as pools
from telemetry import traces
from workers.runtime import metrics
from workers.runtime.loop import Loop
from workers.runtime.outcomes import Dead, NotNow, Outcome, Settled
from workers.store import announce, backlog, prepare, rhythm, trace, write
from workers.store import metrics as stores
from workers.store.outbox import Outbound
from workers.store.prepare import Incoming
from workers.store.write import Written

log = logging.getLogger("crossdock.store")

CONFIRM_TIMEOUT = 10.0
"""Seconds for the confirms of a batch's events."""
UNDER_WAY = 6
"""Batches at a time: one is decoded while others commit or wait for confirms."""
MAINTENANCE_INTERVAL = 3600.0
"""Seconds between making next months' partitions and dropping old ones."""

AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DiskFullError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.SyntaxOrAccessError,  # the schema isn't the one this version was written for, or not ours to use
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
"""Errors that are about the database and not about a message: nothing is rejected for them."""


class StoreWorker:
    """Start, stop, problems, reload: what `deploy.process` runs."""

    def __init__(
        self, config: Config, *, amqp_url: str, database_url: str, shards: Sequence[int] | None = None
    ) -> None:
        """`shards`: the inbound queues to take from, counted from 0; all that the configuration has by default."""
        self._config = config
        self._database_url = database_url
        self._pool: asyncpg.Pool | None = None
        self._pool_lock = asyncio.Lock()
        self._publisher = publisher.Publisher(confirm_timeout=CONFIRM_TIMEOUT, useless=self._try_elsewhere)
        shards = shards or range(config.store.shards)
        prefetch, under_way = -(-config.store.prefetch // len(shards)), -(-UNDER_WAY // len(shards))
        self._consumers = [Consumer(topology.store_queue(shard), prefetch=prefetch) for shard in shards]
        self._loops = [
            Loop(
                consumer,
                self._publisher,
                partial(self._handle, consumer.queue),
                batch=config.store.batch,
                wait=config.store.batch_wait,
                drain=config.process.drain_timeout,
                under_way=under_way,
            )
            for consumer in self._consumers
        ]
        self._in = Link(amqp_url, name="store-in", on_open=self._on_consumers, on_lost=self._on_lost)
        self._out = Link(amqp_url, name="store-out", on_open=self._on_publisher, on_lost=self._publisher.on_lost)
        self._outbound = _outbound(config)
        self._unannounced: set[str] = set()
        """Message ids that may be stored and whose events are not confirmed yet."""
        self._amqp_url = amqp_url
        self._arrivals = rhythm.Counter(self._database)
        self._beside: list[asyncio.Task[None]] = []
        """What goes on beside storing."""
        self._no_database: str | None = "not connected yet"

    async def start(self) -> None:
        """Connects and begins to store. A database that isn't there yet is waited for."""
        self._out.start()
        self._in.start()
        for taking in self._loops:
            taking.start()
        loop = asyncio.get_running_loop()
        self._beside = [
            loop.create_task(self._keep(), name="maintenance"),
            loop.create_task(depths.watch(self._amqp_url, partial(backlog.queues, self._database)), name="depths"),
            loop.create_task(self._arrivals.run(), name="arrivals"),
        ]

    async def stop(self) -> None:
        """Takes no more, finishes and acks what is in hand, closes."""
        await asyncio.gather(*(taking.stop() for taking in self._loops))
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        if self._pool is not None:
            with suppress(Exception):
                async with asyncio.timeout(2), self._pool.acquire() as connection:
                    await self._arrivals.write(connection)
        await self._publisher.stop()
        await self._in.stop()
        await self._out.stop()
        if self._pool is not None:
            with suppress(Exception):
                async with asyncio.timeout(5):
                    await self._pool.close()

    def problems(self) -> list[str]:
        """Empty when a message would be stored now."""
        found = [f"no connection to RabbitMQ: {link.error}" for link in (self._in, self._out) if not link.is_open]
        if self._no_database is not None:
            found.append(f"no use of PostgreSQL: {self._no_database}")
        held_up = {taking.waiting_for for taking in self._loops if taking.waiting_for is not None}
        return found + [f"held up: {reason}" for reason in sorted(held_up)]

    def reload(self, config: Config) -> None:
        """Accounts and rules of the next batch; batch sizes with the next start."""
        self._config = config
        self._outbound = _outbound(config)

    def _on_lost(self) -> None:
        """What was in hand is delivered again, marked so by the broker."""
        for consumer in self._consumers:
            consumer.on_lost()
        self._unannounced.clear()

    async def _on_consumers(self, link: Link, connection: AbstractConnection) -> None:
        for consumer in self._consumers:
            await consumer.on_open(link, connection)

    def _try_elsewhere(self, reason: str) -> None:
        self._out.elsewhere(reason)

    async def _on_publisher(self, link: Link, connection: AbstractConnection) -> None:
        self._publisher.use(link.transport, await link.channel(connection, confirms=True))

    async def _handle(self, queue: str, batch: Sequence[Delivery]) -> list[Outcome]:
        started = time.perf_counter()
        outcomes: list[Outcome] = [Settled.DONE] * len(batch)
        incoming: list[Incoming] = []
        for place, delivery in enumerate(batch):
            try:
                again, held = delivery.redelivered, self._unannounced
                incoming.append(prepare.prepare(delivery.encoded, delivery.body, self._config, again=again, held=held))
            except prepare.Foreign as why:
                outcomes[place] = Dead(str(why))
        decoded = time.perf_counter()
        if not incoming:
            return outcomes
        # Before the write: a connection that dies during COMMIT leaves us not knowing, and what was committed must be
        # announced when the batch is handled again.
        names = {message.envelope.message_id for message in incoming}
        self._unannounced |= names
        written = await self._write(incoming)
        stored = time.perf_counter()
        await self._announce(written)
        self._unannounced -= names
        done = time.perf_counter()
        self._record(queue, incoming, written, decoded - started, stored - decoded, done - stored)
        return outcomes

    async def _write(self, incoming: list[Incoming]) -> Written:
        try:
            written = await write.write_isolating(await self._database(), incoming, self._outbound)
        except AWAY as error:
            self._no_database = f"{type(error).__name__}: {error}"
            raise NotNow(f"the database is away ({type(error).__name__})") from error
        self._no_database = None
        return written

    async def _database(self) -> asyncpg.Pool:
        async with self._pool_lock:  # several ask for it at the start
            if self._pool is None:
                self._pool = await pools.create_pool(self._database_url, size=self._config.store.connections + 1)
            return self._pool

    async def _announce(self, written: Written) -> None:
        """Every event confirmed by the broker, or NotNow: the batch is then handled again, and published again."""
        try:
            events = list(announce.events(written.versions, written.told))
            if events:
                await self._publisher.publish_all(events)
        except Exception as error:
            raise NotNow(f"events are not confirmed ({outgoing.explain(error)})") from error

    def _record(
        self, queue: str, incoming: list[Incoming], written: Written, decode: float, write: float, publish: float
    ) -> None:
        oldest = min((message.envelope for message in incoming), key=lambda one: one.received_at)
        age = max(0.0, (envelope.now() - oldest.received_at).total_seconds())
        stores.LAG.observe(age, oldest.traceparent)
        if traces.tracer:
            now = time.time()
            trace.record(traces.tracer, queue, incoming, now - decode - write - publish, now)
        for stage, seconds in (("decode", decode), ("write", write), ("publish", publish)):
            metrics.stage(stage).observe(seconds, oldest.traceparent)
        for message in incoming:
            if message.document is None:
                about = message.envelope
                stores.QUARANTINED.labels(about.platform, about.account, about.event).inc()
        for type_, count in Counter(stored.document.reading.type for stored in written.versions).items():
            stores.STORED.labels(type_).inc(count)
        self._arrivals.note(message.envelope for message in incoming)
        log.info(
            "stored",
            extra={
                "messages": len(incoming),
                "versions": len(written.versions),
                "quarantined": written.quarantined,
                "deliveries": written.deliveries,
                "decode_ms": round(decode * 1000, 2),
                "write_ms": round(write * 1000, 2),
                "publish_ms": round(publish * 1000, 2),
                "oldest_s": round(age, 3),
                "first_id": incoming[0].envelope.message_id,
                "last_id": incoming[-1].envelope.message_id,
            },
        )

    async def _keep(self) -> None:
        """Partitions ahead of time, old ones away. Tries again soon while the database is away."""
        while True:
            try:
                pool = await self._database()
                await maintenance.keep(pool, retention_days=self._config.storage.retention_days)
                self._no_database = None
                pause = MAINTENANCE_INTERVAL
            except AWAY as error:
                self._no_database = f"{type(error).__name__}: {error}"
                pause = 1.0
            except Exception:
                log.exception("maintenance failed")
                pause = 60.0
            await asyncio.sleep(pause)


def _outbound(config: Config) -> Outbound:
    return Outbound(config.subscribers, next(iter(config.delivery.schedule), 0.0))
