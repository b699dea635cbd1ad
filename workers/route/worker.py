"""The route worker: decode -> decide -> publish record and answer -> ack.

Each message is handled alone and at once, because its sender waits. The record of an allocation is published before the
answer, on the same channel and in the same write, so that an answer that was received has always been recorded; the
message is acknowledged when the broker has confirmed both. Whatever dies in between, the message is delivered again and
everything is repeated with the same ids.

A redelivered message may be the one that ended the worker before, so it is first read in a copy of this process
(`suspects`). A request that fails for a reason of its own is acknowledged after a few attempts: by then its sender has
been answered 503, and the store worker has its own copy. So nothing circulates in `crossdock.route.*` for ever.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from functools import partial

import msgspec
from aio_pika.abc import AbstractConnection

from broker import consumer as broker_consumer
from broker import outgoing, publisher, replies
from broker.connection import BrokerConnection
from broker.consumer import Consumer, IncomingMessage
from schemas import envelope, topology
from schemas.config import Config
from schemas.envelope import Envelope
from telemetry import traces
from telemetry.background import Background
from workers.route import answers, metrics, records
from workers.route.answers import Answer
from workers.route.lateness import Lateness
from workers.route.suspects import RedeliveredRequests, Suspect
from workers.runtime import age, watchdog
from workers.runtime import metrics as runtime

log = logging.getLogger("crossdock.route")

answers.answerers()  # imports the platforms' modules now, because importing them blocks the event loop for 0.2 s

CONFIRM_TIMEOUT = 10.0
"""Maximum seconds to wait for the confirm of a record. The answer does not wait for it; only the ack does."""
PAUSE = 0.5
"""Seconds between attempts to have a record confirmed, and between attempts to answer a request that fails."""
TRIES = 3
"""Attempts to answer a request that fails for a reason of its own."""


class RouteWorker:
    """The component that `deploy.process` runs as `crossdock worker route`."""

    def __init__(self, config: Config, *, amqp_url: str) -> None:
        self._config = config
        self._publisher = publisher.Publisher(
            confirm_timeout=CONFIRM_TIMEOUT, on_unhealthy=lambda reason: self._publish_connection.switch_node(reason)
        )
        self._answer_by_platform = {name: answerer.answer for name, answerer in answers.answerers().items()}
        self._consumers = [self._consumer(topology.reply_queue(name)) for name in self._answer_by_platform]
        self._consume_connection = BrokerConnection(
            amqp_url, name="route-in", on_open=self._on_open, on_lost=self._on_lost
        )
        self._publish_connection = BrokerConnection(
            amqp_url, name="route-out", on_open=self._on_publisher, on_lost=self._publisher.on_lost
        )
        self._tasks: dict[asyncio.Task[None], tuple[Consumer, IncomingMessage]] = {}
        """The requests that are under way."""
        self._lateness = Lateness()
        self._suspects = RedeliveredRequests(self._read)
        self._background = Background()
        for consumer in self._consumers:
            runtime.OLDEST.labels(consumer.queue).set_function(partial(self._oldest, consumer))

    async def start(self) -> None:
        """Prepare the accounts, so that the first sender does not wait for it; then connect and begin to answer."""
        answers.prepare(self._config.accounts)
        self._background.start(self._suspects.run(), name="suspects")
        self._background.start(watchdog.run(), name="watchdog")
        self._publish_connection.start()
        self._consume_connection.start()

    async def stop(self) -> None:
        """Accept no more requests, settle those under way within `[process] drain_timeout`, and close.

        The broker delivers all others again.
        """
        for consumer in self._consumers:
            await consumer.cancel()
        await self._background.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._config.process.drain_timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._publisher.stop()
        await self._consume_connection.stop()
        await self._publish_connection.stop()

    def problems(self) -> list[str]:
        """Return the reasons why no request can be answered now; an empty list if there are none."""
        problems = [
            f"no connection to RabbitMQ: {link.error}"
            for link in (self._consume_connection, self._publish_connection)
            if not link.is_open
        ]
        for component in (self._background, self._publisher, self._consume_connection, self._publish_connection):
            problems += component.problems()
        return problems

    def reload(self, config: Config) -> None:
        """Apply a new configuration between two messages. Raises OSError or ValueError, and changes nothing, if the
        operator's files cannot be read."""
        answers.prepare(config.accounts)
        self._config = config

    async def _on_open(self, link: BrokerConnection, connection: AbstractConnection) -> None:
        for consumer in self._consumers:
            await consumer.on_open(link, connection)

    def _on_lost(self) -> None:
        for consumer in self._consumers:
            consumer.on_lost()

    async def _on_publisher(self, link: BrokerConnection, connection: AbstractConnection) -> None:
        self._publisher.use(link.transport, await link.channel(connection, confirms=True))

    def _consumer(self, queue: str) -> Consumer:
        prefetch = self._config.route.prefetch
        consumer = Consumer(queue, prefetch=prefetch, on_message=lambda message: self._on_message(consumer, message))
        return consumer

    def _oldest(self, consumer: Consumer) -> float:
        under_way = [message for owner, message in self._tasks.values() if owner is consumer]
        return age.oldest([*under_way, *self._suspects.messages(consumer.queue)])

    def _read(self, request: Envelope, body: bytes) -> None:
        """Decide an answer without sending it, for `suspects`."""
        settings = self._config.accounts.get(request.platform, {}).get(request.account)
        decide = self._answer_by_platform.get(request.platform)
        if settings is not None and decide is not None and request.reply_to is not None:
            decide(request, body, settings)

    def _answer_suspect(self, consumer: Consumer, request: Envelope, message: IncomingMessage) -> None:
        started = time.perf_counter()
        result = self._attempt(request, message, started, True)
        self._begin(consumer, message, self._settle(request, message, started, result))

    def _on_message(self, consumer: Consumer, message: IncomingMessage) -> None:
        """Decide and answer a request in the turn of the loop that received it; confirms and ack follow in a task."""
        started = time.perf_counter()
        try:
            request = envelope.of(message.properties)
        except ValueError as error:
            # The store worker quarantines its own copy with the reason; without an envelope, nothing can be answered.
            log.error("not a message of ours", extra={"queue": consumer.queue, "error": str(error)})
            rest = self._ack(message)
        else:
            if message.redelivered:
                answer = partial(self._answer_suspect, consumer, request, message)
                self._suspects.add(Suspect(request, message, answer))
                return
            result = self._attempt(request, message, started, False)
            rest = self._settle(request, message, started, result)
        self._begin(consumer, message, rest)

    def _begin(self, consumer: Consumer, message: IncomingMessage, rest: Coroutine[object, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(rest)
        self._tasks[task] = consumer, message
        task.add_done_callback(self._tasks.pop)

    async def _settle(
        self, request: Envelope, message: IncomingMessage, started: float, result: "_OfferedAnswer | Exception"
    ) -> None:
        """Wait for the confirms, repeat what failed, and acknowledge.

        If the connection is lost before, the broker delivers the message again.
        """
        failures = 0
        while True:
            try:
                if isinstance(result, Exception):
                    raise result
                await self._confirmed(request, result)
                outcome = result.outcome
                break
            except outgoing.MessageError as error:
                # The broker accepts neither this record nor a repetition of it. Nothing has been answered.
                log.error("request failed", extra={"id": request.message_id, "reason": str(error)})
                outcome = "failed"
                break
            except outgoing.BrokerUnavailableError as error:
                # The publishing connection is unavailable. The message is held, not given back, because another worker
                # could do no more.
                log.warning("record not confirmed", extra={"id": request.message_id, "error": str(error)})
            except Exception:
                failures += 1
                log.exception("request failed", extra={"id": request.message_id, "platform": request.platform})
                if failures == TRIES:
                    outcome = "failed"
                    break
            if message.session.is_gone:
                return
            await asyncio.sleep(PAUSE)
            result = self._attempt(request, message, started, True)
        metrics.ANSWERS.labels(request.platform, request.account, outcome).inc()
        await self._ack(message)

    async def _ack(self, message: IncomingMessage) -> None:
        try:
            await broker_consumer.ack_one(message)
        except Exception as error:  # its connection has just been lost, so it is delivered again
            log.warning("not acknowledged", extra={"error": str(error)})

    def _attempt(
        self, request: Envelope, message: IncomingMessage, started: float, again: bool
    ) -> "_OfferedAnswer | Exception":
        try:
            return self._answer(request, message, started, again)
        except Exception as error:
            return error

    def _answer(self, request: Envelope, message: IncomingMessage, started: float, again: bool) -> "_OfferedAnswer":
        """Decide, and publish the record and the answer.

        `started` is the time of receipt by the performance counter; `again` means that an earlier attempt may have
        answered already.
        """
        if request.reply_to is None:
            # An order that was polled or replayed from quarantine only has to be stored.
            return _OfferedAnswer("nobody waits")
        settings = self._config.accounts.get(request.platform, {}).get(request.account)
        decide = self._answer_by_platform.get(request.platform)
        late = self._lateness.is_late(request)
        if settings is None or decide is None or (late and not again):
            outcome = "late" if settings is not None else "unknown account"
            log.info("not answered", extra={"id": request.message_id, "reason": outcome, **_names(request)})
            return _OfferedAnswer(outcome)
        answer = decide(request, message.body, settings)
        offered = _OfferedAnswer("recorded late" if late else str(answer.status), answer, started)
        if answer.record is not None:
            properties, name = records.encoded_properties(request), request.message_id
            offered.record = self._publisher.publish("", topology.STORE, properties, name, answer.record)
        if not late:
            name, properties = replies.encode_answer(request.message_id, answer.status, answer.content_type)
            offered.reply = self._publisher.publish("", request.reply_to, properties, name, answer.body)
        offered.seconds = time.perf_counter() - started
        return offered

    async def _confirmed(self, request: Envelope, offered: "_OfferedAnswer") -> None:
        """Wait until the broker has confirmed the record; whether the answer was received does not matter.

        Raises BrokerUnavailableError or MessageError.
        """
        if offered.answer is None:
            return
        if offered.reply is not None:
            await asyncio.wait([offered.reply])
        if offered.record is not None:
            try:
                await offered.record
            except Exception as error:
                raise outgoing.explain(error) from None
        metrics.seconds(request.platform).observe(offered.seconds, request.traceparent)
        if traces.tracer:
            attributes = {"crossdock.platform": request.platform, "crossdock.account": request.account}
            attributes |= {"messaging.message.id": request.message_id, "crossdock.outcome": offered.outcome}
            began = time.time() - (time.perf_counter() - offered.started)
            traces.tracer.begin(
                f"answer {request.platform}", "consumer", request.traceparent, attributes, at=began
            ).end()
        fields = {
            "id": request.message_id,
            "status": offered.answer.status,
            "outcome": offered.outcome,
            **offered.answer.log_fields,
        }
        log.info("answered", extra={"ms": round(offered.seconds * 1000, 3), **fields, **_names(request)})


class _OfferedAnswer(msgspec.Struct):
    """A decision that has been published."""

    outcome: str
    """The label of `metrics.ANSWERS`."""
    answer: Answer | None = None
    started: float = 0.0
    """Time of receipt, by the performance counter."""
    seconds: float = 0.0
    """From receipt until the answer was published."""
    record: "asyncio.Future[None] | None" = None
    reply: "asyncio.Future[None] | None" = None


def _names(request: Envelope) -> dict[str, str]:
    return {"platform": request.platform, "account": request.account, "event": request.event}
