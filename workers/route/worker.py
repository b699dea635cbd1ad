"""Answers senders that wait: decode -> decide -> publish record and answer -> ack.

Each message is handled as it comes, alone: a shopper waits for it. The record of an allocation is published before
the answer, on the same channel and in the same write, so that an answer that was heard has always been recorded; the
message is acked when the broker has confirmed both. Whatever dies in between, the message comes again and all of it is
repeated with the same ids.
"""

import asyncio
import logging
import time
from functools import partial

from aiormq.abc import AbstractConnection
from pamqp.commands import Basic

from broker import consumer as deliveries
from broker import outgoing, publisher
from broker.connection import Link
from broker.consumer import Consumer, Delivery
from schemas import envelope, topology
from schemas.config import Config
from schemas.envelope import Envelope
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
        self._consumers = [Consumer(queue, prefetch=config.route.prefetch) for queue in queues]
        self._in = Link(amqp_url, name="route-in", on_open=self._on_open, on_lost=self._on_lost)
        self._out = Link(amqp_url, name="route-out", on_open=self._on_publisher, on_lost=self._publisher.on_lost)
        self._tasks: dict[asyncio.Task[None], tuple[Consumer, Delivery]] = {}
        """Requests under way."""
        self._taking: list[asyncio.Task[None]] = []
        for consumer in self._consumers:
            runtime.OLDEST.labels(consumer.queue).set_function(partial(self._oldest, consumer))

    async def start(self) -> None:
        """Connects and begins to answer, with the rules compiled before the first shopper waits."""
        answers.prepare(self._config.accounts)
        self._out.start()
        self._in.start()
        loop = asyncio.get_running_loop()
        self._taking = [loop.create_task(self._take(consumer)) for consumer in self._consumers]

    async def stop(self) -> None:
        """Takes no more, answers and settles what is under way in bounded time, closes. The rest is delivered again."""
        for consumer in self._consumers:
            await consumer.cancel()
        for task in self._taking:
            task.cancel()
        await asyncio.gather(*self._taking, return_exceptions=True)
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

    def _oldest(self, consumer: Consumer) -> float:
        held = [delivery for of, delivery in self._tasks.values() if of is consumer]
        return age.oldest(consumer.head + held)

    async def _take(self, consumer: Consumer) -> None:
        while True:
            for delivery in await consumer.take(self._config.route.prefetch, 0):
                task = asyncio.get_running_loop().create_task(self._serve(consumer, delivery))
                self._tasks[task] = consumer, delivery
                task.add_done_callback(self._tasks.pop)

    async def _serve(self, consumer: Consumer, delivery: Delivery) -> None:
        """One request. Until the ack, anything that goes wrong gives the message back."""
        started = time.perf_counter()
        try:
            request = envelope.of(delivery.properties)
        except ValueError as error:
            # The store worker gets its own copy and buries it with the reason; here nobody can be answered.
            log.error("not a message of ours", extra={"queue": consumer.queue, "error": str(error)})
            await deliveries.ack_one(delivery)
            return
        again = delivery.redelivered
        while True:
            try:
                outcome = await self._handle(request, delivery, started, again)
                await deliveries.ack_one(delivery)
            except outgoing.Unavailable as error:
                # The publishing connection is away. Held, not given back: that would count towards the delivery limit.
                log.warning("record not confirmed", extra={"id": request.message_id, "error": str(error)})
                if delivery.channel.is_closed:
                    return
                again = True
                await asyncio.sleep(PAUSE)
                continue
            except Exception:
                outcome = "failed"
                log.exception("request failed", extra={"id": request.message_id, "platform": request.platform})
                await deliveries.fail_one(delivery)
            break
        metrics.ANSWERS.labels(request.platform, request.account, outcome).inc()

    async def _handle(self, request: Envelope, delivery: Delivery, started: float, again: bool) -> str:
        if request.reply_to is None:
            return (
                "nobody waits"  # an order that was fetched, or one out of quarantine: storing it is all there is to do
            )
        settings = self._config.accounts.get(request.platform, {}).get(request.account)
        decide = ANSWERS.get(request.platform)
        late = request.deadline is None or request.deadline <= time.time()
        if settings is None or decide is None or (late and not again):
            outcome = "late" if settings is not None else "unknown account"
            log.info("not answered", extra={"id": request.message_id, "reason": outcome, **_names(request)})
            return outcome
        answer = decide(request, delivery.body, settings)
        futures = []
        if answer.record is not None:
            # A late request that is delivered again may have been answered by whoever held it before: it is recorded.
            futures.append(self._record(request, answer.record))
        if not late:
            futures.append(self._reply(request, answer))
        elapsed = time.perf_counter() - started
        results = await asyncio.gather(*futures, return_exceptions=True)
        if answer.record is not None and isinstance(results[0], BaseException):
            raise outgoing.explain(results[0])
        outcome = "recorded late" if late else str(answer.status)
        metrics.seconds(request.platform).observe(elapsed, request.traceparent)
        if traces.tracer:
            about = {"crossdock.platform": request.platform, "crossdock.account": request.account}
            about |= {"messaging.message.id": request.message_id, "crossdock.outcome": outcome}
            began = time.time() - (time.perf_counter() - started)
            traces.tracer.begin(f"answer {request.platform}", "consumer", request.traceparent, about, at=began).end()
        fields = {"id": request.message_id, "status": answer.status, "outcome": outcome, **answer.about}
        log.info("answered", extra={"ms": round(elapsed * 1000, 3), **fields, **_names(request)})
        return outcome

    def _record(self, request: Envelope, record: bytes) -> "asyncio.Future[object]":
        properties = envelope.to_properties(
            Envelope(
                message_id=request.message_id,
                platform=request.platform,
                account=request.account,
                event=request.event,
                received_at=request.received_at,
                content_type=request.content_type,
                traceparent=request.traceparent,
                type=envelope.RECORD_TYPE,
            )
        )
        return self._publisher.publish("", topology.STORE, properties.marshal(), request.message_id, record)

    def _reply(self, request: Envelope, answer: Answer) -> "asyncio.Future[object]":
        name = f"{request.message_id}/answer"
        properties = Basic.Properties(
            content_type=answer.content_type,
            headers={"status": answer.status},
            delivery_mode=1,  # an answer that is not heard now is of no use later
            correlation_id=request.message_id,
            message_id=name,
        )
        assert request.reply_to is not None
        return self._publisher.publish("", request.reply_to, properties.marshal(), name, answer.body)


def _names(request: Envelope) -> dict[str, str]:
    return {"platform": request.platform, "account": request.account, "event": request.event}
