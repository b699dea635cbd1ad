"""Stores what comes in: take -> decode -> write (one transaction) -> publish events -> ack.

Confirm, commit, publish, ack: in that order, and every step may be repeated. A batch that dies anywhere comes again,
changes nothing that was written, and has its events published again under the same ids.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from uuid import UUID

from aiormq.abc import AbstractConnection

from broker import depths, outgoing, publisher
from broker.connection import BrokerConnection
from broker.consumer import ByteBudget, Consumer, IncomingMessage
from schemas import envelope, topology
from schemas.config import Config
from storage import maintenance
from storage.database import Database, explain
from telemetry import traces
from telemetry.background import Background
from workers.runtime import metrics, rehearsal, watchdog
from workers.runtime.batch_consumer import BatchConsumer
from workers.runtime.outcomes import Outcome, Settled, UnavailableError
from workers.store import activity, announce, backlog, isolate, prepare, quarantine, rehearse, trace
from workers.store import metrics as stores
from workers.store.isolate import Suspects
from workers.store.moments import Moments
from workers.store.outbox import Outbound
from workers.store.prepare import Incoming
from workers.store.stations import Stations
from workers.store.write import Written

log = logging.getLogger("crossdock.store")

CONFIRM_TIMEOUT = 10.0
"""Seconds for the confirms of a batch's events."""
UNDER_WAY = 6
"""Batches at a time: one is decoded while others commit or wait for confirms."""
MAX_HELD_BYTES = 48 * 1024 * 1024
"""Bytes of bodies that were received and are not settled. With the batches under way, each of which takes several times
its bodies, a worker stays within 512 MiB, as a test and the Kubernetes manifests have it."""
MAINTENANCE_INTERVAL = 3600.0
"""Seconds between making next months' partitions and dropping old ones."""

REMEMBERED = 1000
"""Messages whose suspicion or verdict is remembered."""

Fingerprint = tuple[int, int]


def _fingerprint(delivery: IncomingMessage) -> Fingerprint:
    """Return what a message is recognised by when it is delivered again: its headers count deliveries."""
    return len(delivery.body), hash(delivery.body)


def _remember(memory: dict[Fingerprint, str], print_: Fingerprint, why: str) -> None:
    while len(memory) >= REMEMBERED:
        del memory[next(iter(memory))]
    memory[print_] = why


class StoreWorker:
    """Start, stop, problems, reload: what `deploy.process` runs."""

    def __init__(
        self, config: Config, *, amqp_url: str, database_url: str, shards: Sequence[int] | None = None
    ) -> None:
        """`shards`: the inbound queues to take from, counted from 0; all that the configuration has by default."""
        self._config = config
        self._database = Database(database_url, size=config.store.connections + 1, name="crossdock store")
        self._background = Background()
        self._publisher = publisher.Publisher(confirm_timeout=CONFIRM_TIMEOUT, on_unhealthy=self._switch_node)
        shards = shards or range(config.store.shards)
        prefetch, under_way = -(-config.store.prefetch // len(shards)), -(-UNDER_WAY // len(shards))
        budget = ByteBudget(MAX_HELD_BYTES)
        self._consumers = [
            Consumer(topology.store_queue(shard), prefetch=prefetch, budget=budget, suspended=True) for shard in shards
        ]
        self._loops = [
            BatchConsumer(
                consumer,
                partial(self._handle, consumer.queue),
                probe=self._probe,
                batch=config.store.batch,
                wait=config.store.batch_wait,
                drain=config.process.drain_timeout,
                under_way=under_way,
            )
            for consumer in self._consumers
        ]
        self._stations = Stations(partial(self._handle, topology.DEAD), self._set_aside, probe=self._probe)
        self._in = BrokerConnection(amqp_url, name="store-in", on_open=self._on_consumers, on_lost=self._on_lost)
        self._out = BrokerConnection(
            amqp_url, name="store-out", on_open=self._on_publisher, on_lost=self._publisher.on_lost
        )
        self._aside = BrokerConnection(
            amqp_url, name="store-stations", on_open=self._stations.on_open, on_lost=self._stations.on_lost
        )
        self._outbound = _outbound(config)
        self._suspects = Suspects()
        self._suspected: dict[Fingerprint, str] = {}
        """How a copy of this process ended that read a message, until there is a verdict."""
        self._verdicts: dict[Fingerprint, str] = {}
        """Why messages are to blame."""
        self._unannounced: Counter[str] = Counter()
        """By message id: deliveries in hand of messages that may be stored and whose events are not confirmed yet."""
        self._amqp_url = amqp_url
        self._shards = config.store.shards
        self._arrivals = activity.Counter(self._database.pool)
        self._moments = Moments(self._database.pool)

    async def start(self) -> None:
        """Connects and begins to store. A database that isn't there yet is waited for."""
        for link in (self._out, self._in, self._aside):
            link.start()
        for taking in self._loops:
            taking.start(self._background)
        start = self._background.start
        start(self._stations.run(), name="way stations")
        start(self._keep(), name="maintenance")
        consumed = partial(backlog.queues, self._database.pool)
        start(depths.watch(self._amqp_url, consumed, shards=self._shards), name="depths")
        start(quarantine.watch(self._database.pool), name="quarantine")
        start(self._arrivals.run(), name="arrivals")
        start(self._moments.run(), name="clocks")
        start(watchdog.run(), name="watchdog")

    async def stop(self) -> None:
        """Takes no more, finishes and acks what is in hand, closes."""
        await asyncio.gather(*(taking.stop() for taking in self._loops))
        await self._background.stop()
        if self._database.is_open:
            with suppress(Exception):
                async with asyncio.timeout(2), (await self._database.pool()).acquire() as connection:
                    await self._arrivals.write(connection)
        await self._publisher.stop()
        await asyncio.gather(self._in.stop(), self._aside.stop())
        await self._out.stop()
        await self._database.close(5)

    def problems(self) -> list[str]:
        """Empty when a message would be stored now."""
        found = [f"no connection to RabbitMQ: {link.error}" for link in (self._in, self._out) if not link.is_open]
        if self._database.problem is not None:
            found.append(f"no use of PostgreSQL: {self._database.problem}")
        held_up = {taking.waiting_for for taking in self._loops if taking.waiting_for is not None}
        return [*found, *(f"held up: {reason}" for reason in sorted(held_up)), *self._background.problems()]

    def reload(self, config: Config) -> None:
        """Accounts and rules of the next batch; batch sizes with the next start."""
        self._config = config
        self._outbound = _outbound(config)

    def _on_lost(self) -> None:
        """What was in hand is delivered again, marked so by the broker."""
        for consumer in self._consumers:
            consumer.on_lost()
        self._unannounced.clear()

    async def _on_consumers(self, link: BrokerConnection, connection: AbstractConnection) -> None:
        for consumer in self._consumers:
            await consumer.on_open(link, connection)

    def _switch_node(self, reason: str) -> None:
        self._out.switch_node(reason)

    async def _on_publisher(self, link: BrokerConnection, connection: AbstractConnection) -> None:
        self._publisher.use(link.transport, await link.channel(connection, confirms=True))

    async def _probe(self) -> None:
        """Show that a message could be stored now. Raises UnavailableError if not."""
        try:
            pool = await self._database.pool()
            await self._moments.look(pool)
            await isolate.control(pool)
        except Exception as error:
            raise UnavailableError(f"the database is unavailable ({self._database.failed(error)})") from error
        self._database.worked()

    async def _handle(self, queue: str, batch: Sequence[IncomingMessage]) -> list[Outcome]:
        suspects = await self._find_suspects(batch)
        if not suspects:
            return await self._store(queue, batch, {})
        if len(batch) == 1:
            verdict = await self._convict(batch[0], suspects[0])
            return await self._store(queue, batch, {} if verdict is None else {0: verdict})
        # Its neighbours at once, and the suspect alone, later: finding out whether a message that takes minutes is to
        # blame takes a while, and nobody is to wait for it.
        others = [place for place in range(len(batch)) if place not in suspects]
        outcomes = dict(zip(others, await self._store(queue, [batch[place] for place in others], {}), strict=True))
        return [outcomes.get(place, Settled.HELD) for place in range(len(batch))]

    async def _find_suspects(self, batch: Sequence[IncomingMessage]) -> dict[int, str]:
        """Return the messages, by place, that ended a copy of this process, of those that were delivered before."""
        redelivered = {place: _fingerprint(one) for place, one in enumerate(batch) if one.redelivered}
        found = {place: self._suspected[print_] for place, print_ in redelivered.items() if print_ in self._suspected}
        places = [place for place, print_ in redelivered.items() if print_ not in self._suspected]
        if places:
            work = partial(self._rehearse, [batch[place] for place in places], self._config)
            for index, why in (await rehearsal.find_suspects(len(places), work)).items():
                place = places[index]
                found[place] = why
                # Remembered until there is a verdict: a trial takes longer than some connections last.
                _remember(self._suspected, redelivered[place], why)
        return found

    async def _convict(self, delivery: IncomingMessage, why: str) -> str | None:
        """Return the reason if a suspect is to blame. Raises UnavailableError."""
        print_ = _fingerprint(delivery)
        if print_ not in self._verdicts:
            work = partial(self._rehearse, [delivery], self._config)
            verdict = await rehearsal.convict(0, why, work, control=rehearse.read_example)
            if verdict is None:
                self._suspected.pop(print_, None)
                return None
            _remember(self._verdicts, print_, verdict)
        return self._verdicts[print_]

    @staticmethod
    def _rehearse(batch: Sequence[IncomingMessage], config: Config, index: int) -> None:
        rehearse.read(batch[index], config)

    async def _store(self, queue: str, batch: Sequence[IncomingMessage], culprits: Mapping[int, str]) -> list[Outcome]:
        """Decode, write, announce. `culprits`: why messages, by place, are put into quarantine without being read."""
        if not batch:
            return []
        watchdog.arm()  # for this batch alone: several may become due in one turn of the loop
        started = time.perf_counter()
        incoming = [self._prepare(delivery, culprits.get(place)) for place, delivery in enumerate(batch)]
        decoded = time.perf_counter()
        written = await self._write(incoming)
        stored = time.perf_counter()
        await self._announce(written)
        self._forget(batch, incoming, written.held)
        done = time.perf_counter()
        try:
            self._record(queue, incoming, written, decoded - started, stored - decoded, done - stored)
        except Exception:
            log.exception("not recorded")  # what is stored and announced is done, whatever metrics and traces say
        if written.held:
            return [Settled.HELD if one.message_id in written.held else Settled.DONE for one in incoming]
        return [Settled.DONE] * len(batch)

    def _prepare(self, delivery: IncomingMessage, culprit: str | None) -> Incoming:
        """Return what is to be written of one message, and note it as unannounced. Raises UnavailableError."""
        if culprit is not None:
            return self._halt(delivery, prepare.FAILED, culprit, attempts=rehearsal.TRIES)
        try:
            message = prepare.prepare(
                delivery.encoded,
                delivery.body,
                self._config,
                redelivered=delivery.redelivered,
                unannounced=self._unannounced,
            )
        except prepare.NotOurMessageError as why:
            return self._halt(delivery, prepare.UNREADABLE, str(why))
        except MemoryError:
            raise UnavailableError("this machine is out of memory") from None
        except Exception as error:
            # Reading is a pure function of the message: what it raises once it raises always.
            log.exception("message failed")
            return self._halt(delivery, prepare.FAILED, f"{type(error).__name__}: {error}", attempts=1)
        # Before the write: a connection that dies during COMMIT leaves us not knowing, and what was committed must be
        # announced when the batch is handled again. Counted by delivery: a message that comes twice is in hand twice,
        # and the one that is done must not speak for the other, whose event is still to be announced.
        if not delivery.is_noted:
            delivery.is_noted = True
            self._unannounced[message.envelope.message_id] += 1
        return message

    def _halt(self, delivery: IncomingMessage, stage: str, reason: str, *, attempts: int = 0) -> Incoming:
        message = prepare.halted(delivery.encoded, delivery.body, stage, reason, envelope.now(), attempts=attempts)
        log.error("message halted", extra={"id": str(message.message_id), "stage": stage, "reason": message.reason})
        return message

    def _forget(
        self, batch: Sequence[IncomingMessage], incoming: Sequence[Incoming], held: Set[UUID] = frozenset()
    ) -> None:
        """Note that these are announced, unless they are held."""
        unannounced = self._unannounced
        for delivery, message in zip(batch, incoming, strict=True):
            if delivery.is_noted and message.message_id not in held:
                delivery.is_noted = False
                name = message.envelope.message_id
                if unannounced[name] > 1:
                    unannounced[name] -= 1
                else:
                    unannounced.pop(name, None)

    async def _write(self, incoming: list[Incoming]) -> Written:
        try:
            pool = await self._database.pool()
            filed = await self._moments.settle(pool, incoming)
            written = await isolate.write_isolating(pool, filed, self._outbound, self._suspects)
        except Exception as error:
            raise UnavailableError(f"the database is unavailable ({self._database.failed(error)})") from error
        self._database.worked()
        return written

    async def _set_aside(self, delivery: IncomingMessage, routing_key: str) -> None:
        """Put a message that no queue took into quarantine. Raises UnavailableError."""
        reason = f"no queue took it (routing key {routing_key!r})"
        message = prepare.halted(
            delivery.encoded, delivery.body, prepare.UNROUTED, reason, envelope.now(), key=routing_key
        )
        log.error("message halted", extra={"id": str(message.message_id), "stage": message.stage, "reason": reason})
        if (await self._write([message])).held:
            raise UnavailableError("the database takes other messages, and not this one")
        self._count_quarantined([message])

    async def _announce(self, written: Written) -> None:
        """Every event confirmed by the broker, or UnavailableError: the batch is then handled again, and published
        again. An event that is too large for the broker is announced without its data; the others don't wait for it."""
        events = list(announce.events_by_version(written.versions, written.notices))
        if not events:
            return
        try:
            try:
                await self._publisher.publish_all([self._fitting(*event) for event in events])
            except outgoing.MessageError:
                # The broker's limit is known from now on, if it is that. Each alone shows whose fault it is.
                for event in events:
                    await self._announce_alone(*event)
        except Exception as error:
            raise UnavailableError(f"events are not confirmed ({outgoing.explain(error)})") from error

    async def _announce_alone(self, version_id: UUID, event: outgoing.Outgoing) -> None:
        try:
            await self._publisher.publish(*self._fitting(version_id, event))
        except outgoing.TooLargeError:
            await self._publisher.publish(*self._fitting(version_id, event))  # the limit has been learnt from this one
        except outgoing.MessageError as error:
            # It is stored, and subscribers get it; no other try of publishing it ends otherwise.
            stores.UNANNOUNCED.inc()
            log.error("event can't be announced", extra={"id": event.message_id, "error": str(error)})

    def _fitting(self, version_id: UUID, event: outgoing.Outgoing) -> outgoing.Outgoing:
        limit = self._publisher.max_message_size
        if limit is None or len(event.body) <= limit:
            return event
        return announce.without_data(event, version_id, self._config.api.public_url)

    def _count_quarantined(self, incoming: Sequence[Incoming]) -> None:
        for message in incoming:
            if message.document is None:
                about = message.envelope
                stores.QUARANTINED.labels(about.platform, about.account, about.event).inc()

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
        self._count_quarantined(incoming)
        for type_, count in Counter(stored.document.reading.type for stored in written.versions).items():
            stores.STORED.labels(type_).inc(count)
        self._arrivals.note(message.envelope for message in incoming if message.envelope.account)
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
        """Partitions ahead of time, old ones away. Tries again soon while the database is unavailable."""
        while True:
            try:
                pool = await self._database.pool()
                await maintenance.keep(pool, retention_days=self._config.storage.retention_days)
                pause = MAINTENANCE_INTERVAL
            except Exception as error:
                log.warning("maintenance failed", extra={"error": explain(error)})
                pause = 5.0
            await asyncio.sleep(pause)


def _outbound(config: Config) -> Outbound:
    return Outbound(config.subscribers, next(iter(config.delivery.schedule), 0.0))
