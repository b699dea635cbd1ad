"""The loop of every worker that works in batches: take, handle, settle. Only this code acks batches.

Several batches may be under way (one is decoded while another is committed). They are settled in the order in which
they were taken, so that one frame acks a whole batch.

No message is blamed here. Messages that a handler cannot handle now are held for a few seconds and then returned to the
queue, and nothing is consumed until a probe shows that the handler can work again. The broker's delivery count proves
nothing about a message, because killed workers, lost connections and consumer time-outs increase it for every message
that a connection held.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

from broker import consumer as broker_consumer
from broker.consumer import Consumer, IncomingMessage
from telemetry.background import Background, drain
from workers.runtime import age, metrics
from workers.runtime.availability import Availability
from workers.runtime.outcomes import Outcome, UnavailableError

log = logging.getLogger("crossdock.worker")

Handle = Callable[[Sequence[IncomingMessage]], Awaitable[Sequence[Outcome]]]
Probe = Callable[[], Awaitable[None]]
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts while something is unavailable; the last value repeats."""
HOLD_TIME = 10.0
"""Seconds for which a batch is held and tried again before everything is returned to the queue.

Short interruptions therefore cause no redelivery, and RabbitMQ's `consumer_timeout`, which is at least a minute, is
never reached.
"""
MAX_RETRYING, MAX_RETRYING_BYTES = 200, 8 * 1024 * 1024
"""Maximum number of messages, and of bytes of their bodies, that are held while others are handled.

If there are more, everything is returned to the queue.
"""
MAX_RETRYING_TIME = 600.0
"""Seconds for which single messages are held; less than RabbitMQ's `consumer_timeout`, 30 minutes by default."""
MAX_BATCH_BYTES = 4 * 1024 * 1024
"""Maximum bytes of bodies in one batch; a body that is decoded and encoded again takes several times its size."""


class BatchConsumer:
    """Runs one handler for one queue until `stop` is called."""

    def __init__(
        self,
        consumer: Consumer,
        handle: Handle,
        *,
        probe: Probe,
        batch: int,
        wait: float,
        drain_timeout: float,
        max_batches: int = 1,
    ) -> None:
        """Prepare to handle the messages of `consumer`, which must be suspended.

        `handle` is called with batches of at most `batch` messages, and at most `max_batches` batches at a time. `wait`
        is the maximum number of seconds to wait for a batch to fill. `probe` raises UnavailableError while the handler
        could not work. `drain_timeout` is the number of seconds that `stop` waits for batches under way; messages that
        are not settled by then are delivered again.
        """
        self._consumer = consumer
        self._handle = handle
        self._probe = probe
        self._batch = batch
        self._wait = wait
        self._drain_timeout = drain_timeout
        self._max_batches = max_batches
        self._slots = asyncio.Semaphore(max_batches)
        self._background: Background | None = None
        self._taking: asyncio.Task[None] | None = None
        self._previous: asyncio.Task[None] | None = None
        self._batches: dict[asyncio.Task[None], list[IncomingMessage]] = {}
        """The batches under way, by the tasks that handle them."""
        self._held: dict[IncomingMessage, None] = {}
        """Messages that are tried again alone, while the others of their batches are settled."""
        self._held_since = 0.0
        self._has_held = asyncio.Event()
        self._is_unavailable = asyncio.Event()
        self._availability = Availability(consumer.queue)
        self._oldest_in_queue: str | None = None
        """While nothing is consumed, the time at which the oldest message in the queue was received."""
        metrics.OLDEST.labels(consumer.queue).set_function(self.oldest)

    @property
    def unavailable_reason(self) -> str | None:
        """Why the handler cannot work, for `/readyz`; None while it can."""
        return self._availability.reason

    @property
    def is_saturated(self) -> bool:
        """Whether there is a backlog: a full batch is in progress or waits, or no more batches may begin."""
        is_full = max(map(len, self._batches.values()), default=0) >= self._batch
        return is_full or self._consumer.waiting >= self._batch or len(self._batches) >= self._max_batches

    def held_up(self) -> float:
        """Return the seconds for which something has been unavailable; 0.0 while the handler works."""
        return self._availability.held_up()

    def start(self, background: Background) -> None:
        """Start to take batches as soon as the probe succeeds, in supervised tasks of `background`."""
        queue = self._consumer.queue
        self._background = background
        self._taking = background.start(self._take(), name=f"take {queue}")
        background.start(self._consume_while_available(), name=f"availability of {queue}")
        background.start(self._retry_held(), name=f"held messages of {queue}")

    def oldest(self) -> float:
        """Return the age in seconds of the oldest message that is held or comes next; 0.0 if there is none.

        While nothing is consumed, it is the age of the message that was the oldest before, which is still in the queue.
        """
        if self._oldest_in_queue is not None:
            return age.seconds_since(self._oldest_in_queue)
        return age.oldest(self._in_hand())

    def _in_hand(self) -> Iterator[IncomingMessage]:
        return chain(self._consumer.head, self._held, *self._batches.values())

    async def stop(self) -> None:
        """Take no more messages, and settle those under way in bounded time; the others return to the queue."""
        if self._taking is not None and self._background is not None:
            with suppress(Exception):
                await self._consumer.cancel()
            self._background.expect_end(self._taking)
            self._taking.cancel()
            with suppress(asyncio.CancelledError):
                await self._taking
        await drain(self._batches, 0.0 if self.unavailable_reason else self._drain_timeout)

    async def _consume_while_available(self) -> None:
        """Consume while the handler can work; otherwise leave all messages in the queue."""
        while True:
            await self._until_available()
            self._oldest_in_queue = None
            await self._consumer.resume()
            await self._is_unavailable.wait()
            self._is_unavailable.clear()
            log.warning(
                "returning messages to the queue",
                extra={"queue": self._consumer.queue, "reason": self.unavailable_reason},
            )
            self._oldest_in_queue = age.first_received(self._in_hand())
            await self._consumer.suspend()

    async def _until_available(self) -> None:
        while True:
            if self._availability.unavailable_attempts:
                if self._oldest_in_queue is None and (head := await self._consumer.peek()):
                    self._oldest_in_queue = age.first_received([head])
                await asyncio.sleep(_pause(self._availability.unavailable_attempts))
            try:
                await self._probe()
            except UnavailableError as error:
                self._availability.failed(str(error))
            except Exception as error:
                log.exception("probe failed", extra={"queue": self._consumer.queue})
                self._availability.failed(f"internal error ({type(error).__name__})")
            else:
                self._availability.probed()
                return

    async def _take(self) -> None:
        while True:
            await self._slots.acquire()
            try:
                batch = await self._consumer.take(self._batch, self._wait, MAX_BATCH_BYTES)
            except BaseException:
                self._slots.release()
                raise
            metrics.BATCH.labels(self._consumer.queue).observe(len(batch))
            self._previous = asyncio.get_running_loop().create_task(self._work(batch, self._previous))
            self._batches[self._previous] = batch
            self._previous.add_done_callback(self._batches.pop)

    async def _work(self, batch: list[IncomingMessage], before: "asyncio.Task[None] | None") -> None:
        try:
            outcomes = await self._outcomes(batch)
            if before is not None:
                # Acks are cumulative: the batch before must be settled first, or its messages would be acked too.
                await asyncio.wait([before])
            await self._settle(batch, outcomes)
        except asyncio.CancelledError:
            raise
        except Exception:
            # Nothing was acked. A new connection makes the broker deliver again the messages that this one holds.
            log.exception("batch failed", extra={"queue": self._consumer.queue, "messages": len(batch)})
            batch[0].session.end()  # at once: the ack of a later batch would ack these messages too
            self._consumer.reconnect("a batch could not be settled")
        finally:
            self._slots.release()

    async def _outcomes(self, batch: list[IncomingMessage]) -> list[Outcome]:
        """Return one outcome per message; call the handler until nothing is unavailable, or return the batch."""
        began = time.monotonic()
        attempt = 0
        while True:
            try:
                outcomes = list(await self._handle(batch))
            except UnavailableError as error:
                reason = str(error)
            except Exception as error:
                # A handler isolates the errors that a message causes. An unexpected error is not blamed on any message.
                log.exception("handler failed", extra={"queue": self._consumer.queue, "messages": len(batch)})
                reason = f"internal error ({type(error).__name__})"
            else:
                self._availability.worked()
                return outcomes
            self._availability.failed(reason)
            if batch[0].session.is_gone:
                return [Outcome.RETURNED] * len(batch)
            if time.monotonic() - began > HOLD_TIME:
                batch[0].session.end()  # at once: the ack of a later batch would ack these messages too
                self._is_unavailable.set()
                return [Outcome.RETURNED] * len(batch)
            await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1

    async def _settle(self, batch: list[IncomingMessage], outcomes: list[Outcome]) -> None:
        """Ack the messages that are done, with a single frame if no earlier message is held."""
        queue = self._consumer.queue
        done = []
        for message, outcome in zip(batch, outcomes, strict=True):
            if outcome is Outcome.DONE:
                done.append(message)
            elif outcome is Outcome.HELD:
                self._hold(message)
        metrics.SETTLED.labels(queue, "done").inc(len(done))
        if not done:
            return
        if len(done) < len(batch) or self._held:
            for message in done:
                await broker_consumer.ack_one(message)
        else:
            await broker_consumer.ack(done)

    def _hold(self, message: IncomingMessage) -> None:
        if not self._held:
            self._held_since = time.monotonic()
        self._held[message] = None
        self._has_held.set()
        metrics.SETTLED.labels(self._consumer.queue, "held").inc()
        if len(self._held) > MAX_RETRYING or sum(len(held.body) for held in self._held) > MAX_RETRYING_BYTES:
            self._return_all("too many messages cannot be handled while others can")

    def _return_all(self, reason: str) -> None:
        """Return all messages to the queue, and continue after a pause."""
        self._availability.failed(reason)
        for message in self._held:
            message.session.end()
        self._is_unavailable.set()

    async def _retry_held(self) -> None:
        """Try held messages again, each of them alone."""
        attempt = 0
        while True:
            await self._has_held.wait()
            attempt += 1
            await asyncio.sleep(_pause(attempt))
            for message in list(self._held):
                if message.session.is_gone or await self._handle_held(message):
                    self._held.pop(message, None)
            if not self._held:
                attempt = 0
                self._has_held.clear()
            elif time.monotonic() - self._held_since > MAX_RETRYING_TIME:
                self._return_all("messages have been held for too long")

    async def _handle_held(self, message: IncomingMessage) -> bool:
        """Handle one message alone; return whether it is settled."""
        try:
            (outcome,) = await self._handle([message])
            if outcome is Outcome.DONE:
                await broker_consumer.ack_one(message)
                metrics.SETTLED.labels(self._consumer.queue, "done").inc()
        except UnavailableError as error:
            log.debug("held", extra={"queue": self._consumer.queue, "reason": str(error)})
            return False
        except Exception:
            log.exception("handler failed", extra={"queue": self._consumer.queue, "messages": 1})
            return False
        return outcome is Outcome.DONE


def _pause(attempt: int) -> float:
    """Return the seconds to wait after `attempt` consecutive attempts."""
    return PAUSES[min(attempt, len(PAUSES)) - 1]
