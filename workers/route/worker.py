"""Answers senders that wait: decode -> decide -> publish record and answer -> ack.

Each message is handled as it comes, alone: a shopper waits for it. The record of an allocation is published before
the answer, on the same channel and in the same write, so that an answer that was heard has always been recorded; the
message is acked when the broker has confirmed both. Whatever dies in between, the message comes again and all of it is
repeated with the same ids.
"""

import asyncio
import logging
import time
from functools import lru_cache, partial

import msgspec
from aiormq.abc import AbstractConnection

from broker import consumer as deliveries
from broker import identity, outgoing, publisher, replies
from broker.connection import Link
from broker.consumer import Consumer, Delivery
from schemas import envelope, topology
from schemas.config import Config
from schemas.envelope import Envelope, Stamp
from telemetry import traces
from workers.route import answers, metrics
from workers.route.answers import ANSWERS, Answer
from workers.runtime import age
from workers.runtime import metrics as runtime

log = logging.getLogger("crossdock.route")

CONFIRM_TIMEOUT = 10.0
"""Seconds for the confirm of a record. The answer doesn't wait for it; only the ack does."""
PAUSE = 0.5
"""Seconds between attempts to have a record confirmed."""


class RouteWorker:
    """Start, stop, problems, reload: what `deploy.process` runs."""

    def __init__(self, config: Config, *, amqp_url: str) -> None:
        self._config = config
        self._publisher = publisher.Publisher(confirm_timeout=CONFIRM_TIMEOUT, useless=self._try_elsewhere)
        queues = sorted({topology.reply_queue(name) for name in ANSWERS})
        self._consumers = [self._consumer(queue) for queue in queues]
        self._in = Link(amqp_url, name="route-in", on_open=self._on_open, on_lost=self._on_lost)
        self._out = Link(amqp_url, name="route-out", on_open=self._on_publisher, on_lost=self._publisher.on_lost)
        self._tasks: dict[asyncio.Task[None], tuple[Consumer, Delivery]] = {}
        """Requests under way."""
        for consumer in self._consumers:
            runtime.OLDEST.labels(consumer.queue).set_function(partial(self._oldest, consumer))

    async def start(self) -> None:
        """Connects and begins to answer, with the rules compiled before the first shopper waits."""
        answers.prepare(self._config.accounts)
        self._out.start()
        self._in.start()

    async def stop(self) -> None:
        """Takes no more, answers and settles what is under way in bounded time, closes. The rest is delivered again."""
        for consumer in self._consumers:
            await consumer.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._config.process.drain_timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._publisher.stop()
        await self._in.stop()
        await self._out.stop()

    def problems(self) -> list[str]:
        """Empty when a request would be answered now."""
        return [f"no connection to RabbitMQ: {link.error}" for link in (self._in, self._out) if not link.is_open]

    def reload(self, config: Config) -> None:
        """Rules change between two messages, all at once."""
        answers.prepare(config.accounts)
        self._config = config

    async def _on_open(self, link: Link, connection: AbstractConnection) -> None:
        for consumer in self._consumers:
            await consumer.on_open(link, connection)

    def _on_lost(self) -> None:
        for consumer in self._consumers:
            consumer.on_lost()

    def _try_elsewhere(self, reason: str) -> None:
        self._out.elsewhere(reason)

    async def _on_publisher(self, link: Link, connection: AbstractConnection) -> None:
        self._publisher.use(link.transport, await link.channel(connection, confirms=True))

    def _consumer(self, queue: str) -> Consumer:
        made = Consumer(queue, prefetch=self._config.route.prefetch, heard=lambda one: self._heard(made, one))
        return made

    def _oldest(self, consumer: Consumer) -> float:
        return age.oldest(delivery for of, delivery in self._tasks.values() if of is consumer)

    def _heard(self, consumer: Consumer, delivery: Delivery) -> None:
        """One request, decided and answered in the turn of the loop that received it; the rest can wait."""
        started = time.perf_counter()
        try:
            request = envelope.of(delivery.properties)
        except ValueError as error:
            # The store worker gets its own copy and buries it with the reason; here nobody can be answered.
            log.error("not a message of ours", extra={"queue": consumer.queue, "error": str(error)})
            rest = self._ack(delivery)
        else:
            said = self._attempt(request, delivery, started, delivery.redelivered)
            rest = self._settle(request, delivery, started, said)
        task = asyncio.get_running_loop().create_task(rest)
        self._tasks[task] = consumer, delivery
        task.add_done_callback(self._tasks.pop)

    async def _settle(self, request: Envelope, delivery: Delivery, started: float, said: "_Said | Exception") -> None:
        """Until the ack, anything that goes wrong gives the message back."""
        while True:
            try:
                if isinstance(said, Exception):
                    raise said
                await self._confirmed(request, said)
                await deliveries.ack_one(delivery)
                outcome = said.outcome
            except outgoing.Unavailable as error:
                # The publishing connection is away. Held, not given back: that would count towards the delivery limit.
                log.warning("record not confirmed", extra={"id": request.message_id, "error": str(error)})
                if delivery.channel.is_closed:
                    return
                await asyncio.sleep(PAUSE)
                said = self._attempt(request, delivery, started, True)
                continue
            except Exception:
                outcome = "failed"
                log.exception("request failed", extra={"id": request.message_id, "platform": request.platform})
                await deliveries.fail_one(delivery)
            break
        metrics.ANSWERS.labels(request.platform, request.account, outcome).inc()

    async def _ack(self, delivery: Delivery) -> None:
        await deliveries.ack_one(delivery)

    def _attempt(self, request: Envelope, delivery: Delivery, started: float, again: bool) -> "_Said | Exception":
        try:
            return self._answer(request, delivery, started, again)
        except Exception as error:
            return error

    def _answer(self, request: Envelope, delivery: Delivery, started: float, again: bool) -> "_Said":
        """Decides, and publishes what was decided. `started`: when it came, by the performance counter. `again`: who
        held it before may have answered."""
        if request.reply_to is None:
            # An order that was fetched, or one out of quarantine: storing it is all there is to do.
            return _Said("nobody waits")
        settings = self._config.accounts.get(request.platform, {}).get(request.account)
        decide = ANSWERS.get(request.platform)
        late = request.deadline is None or request.deadline <= time.time()
        if settings is None or decide is None or (late and not again):
            outcome = "late" if settings is not None else "unknown account"
            log.info("not answered", extra={"id": request.message_id, "reason": outcome, **_names(request)})
            return _Said(outcome)
        answer = decide(request, delivery.body, settings)
        said = _Said("recorded late" if late else str(answer.status), answer, started)
        if answer.record is not None:
            properties, name = _record_properties(request), request.message_id
            said.record = self._publisher.publish("", topology.STORE, properties, name, answer.record)
        if not late:
            name, properties = replies.encode_answer(request.message_id, answer.status, answer.content_type)
            said.reply = self._publisher.publish("", request.reply_to, properties, name, answer.body)
        said.seconds = time.perf_counter() - started
        return said

    async def _confirmed(self, request: Envelope, said: "_Said") -> None:
        """What was published is safe; that an answer may not have been heard doesn't matter. Raises Unavailable."""
        if said.answer is None:
            return
        if said.reply is not None:
            await asyncio.wait([said.reply])
        if said.record is not None:
            try:
                await said.record
            except Exception as error:
                raise outgoing.explain(error) from None
        metrics.seconds(request.platform).observe(said.seconds, request.traceparent)
        if traces.tracer:
            about = {"crossdock.platform": request.platform, "crossdock.account": request.account}
            about |= {"messaging.message.id": request.message_id, "crossdock.outcome": said.outcome}
            began = time.time() - (time.perf_counter() - said.started)
            traces.tracer.begin(f"answer {request.platform}", "consumer", request.traceparent, about, at=began).end()
        fields = {"id": request.message_id, "status": said.answer.status, "outcome": said.outcome, **said.answer.about}
        log.info("answered", extra={"ms": round(said.seconds * 1000, 3), **fields, **_names(request)})


class _Said(msgspec.Struct):
    """What was decided of a request, and is on its way."""

    outcome: str
    """A metric's label."""
    answer: Answer | None = None
    started: float = 0.0
    """By the performance counter."""
    seconds: float = 0.0
    """From then until it was published."""
    record: "asyncio.Future[object] | None" = None
    reply: "asyncio.Future[object] | None" = None


def _record_properties(request: Envelope) -> bytes:
    """The request's own, as a record's."""
    trace = request.traceparent
    if trace is not None and identity.is_traceparent(trace) and request.message_id.isascii():
        stamp = _stamp(request.platform, request.account, request.event, request.content_type)
        return stamp(request.message_id, request.received_at.timestamp(), trace)
    asked = {"reply_to": None, "deadline": None, "language": None}
    record = msgspec.structs.replace(request, **asked, type=envelope.RECORD_TYPE)
    return envelope.to_properties(record).marshal()


@lru_cache(1000)
def _stamp(platform: str, account: str, event: str, content_type: str | None) -> Stamp:
    return Stamp(platform, account, event, content_type, None, kind=envelope.RECORD_TYPE)


def _names(request: Envelope) -> dict[str, str]:
    return {"platform": request.platform, "account": request.account, "event": request.event}
