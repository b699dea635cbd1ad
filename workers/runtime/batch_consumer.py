"""The loop of every worker that works in batches: take, handle, settle. The only code that acks.

Several batches may be under way (one decodes while another commits); they are settled in the order they were taken, so
that one frame acks a whole batch.

No message is blamed here. What a handler can't do now is held for a few seconds and then given back to the queue, and
nothing is consumed until a probe says that the handler can work again. However often the broker has delivered a message
says nothing about it: killed workers, lost connections and consumer time-outs count there, for every message that a
connection held.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

from broker import consumer as deliveries
from broker.consumer import Consumer, IncomingMessage
from telemetry.background import Background
from workers.runtime import age, metrics
from workers.runtime.outcomes import Outcome, Settled, UnavailableError

log = logging.getLogger("crossdock.worker")

Handle = Callable[[Sequence[IncomingMessage]], Awaitable[Sequence[Outcome]]]
Probe = Callable[[], Awaitable[None]]
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts while something is unavailable; the last repeats."""
HOLD_TIME = 10.0
"""Seconds that a batch is held and tried again before everything goes back to the queue. Short interruptions cost no
redelivery; and RabbitMQ's `consumer_timeout`, a minute at the least, is never reached."""
MAX_HELD, MAX_HELD_BYTES = 200, 8 * 1024 * 1024
"""Messages, and bytes of their bodies, that are held while others are handled; beyond, everything is given back."""
MAX_HELD_TIME = 600.0
"""Seconds for which messages are held one by one: less than RabbitMQ's `consumer_timeout`, 30 minutes by default."""
SETTLED_AFTER = 30.0
"""Seconds without another failure after which a successful probe counts as the end of an outage: one that succeeds
while the handler goes on failing does not."""
MAX_BATCH_BYTES = 4 * 1024 * 1024
"""Bytes of bodies in one batch. Decoded and encoded again, a body takes several times its size."""


class BatchConsumer:
    """Runs one handler over one queue until `stop`."""

    def __init__(
        self,
        consumer: Consumer,
        handle: Handle,
        *,
        probe: Probe,
        batch: int,
        wait: float,
        drain: float,
        under_way: int = 1,
    ) -> None:
        """Work with batches of at most `batch` messages, waiting at most `wait` seconds for one to fill, `under_way`
        batches at a time.

        `consumer`: made suspended. `probe`: raises UnavailableError while the handler could not work. `drain`: seconds
        to finish what is in hand when the loop is stopped; what isn't done by then is delivered again.
        """
        self._consumer = consumer
        self._handle = handle
        self._probe = probe
        self._batch = batch
        self._wait = wait
        self._drain = drain
        self._slots = asyncio.Semaphore(under_way)
        self._background: Background | None = None
        self._taking: asyncio.Task[None] | None = None
        self._last: asyncio.Task[None] | None = None
        self._works: dict[asyncio.Task[None], list[IncomingMessage]] = {}
        """Batches under way."""
        self._held: dict[IncomingMessage, None] = {}
        """Messages that are tried again alone, while their neighbours are done."""
        self._held_since = 0.0
        self._has_held = asyncio.Event()
        self._is_unavailable = asyncio.Event()
        self._failures = 0
        """Attempts in a row that found something unavailable."""
        self._unavailable_since: float | None = None
        self._available_since: float | None = None
        """When the last probe succeeded, unless something failed after it."""
        self._given_back: str | None = None
        """When the oldest message was received of those that wait in the queue while nothing is consumed."""
        self.waiting_for: str | None = None
        """What the handler is held up by, for /readyz."""
        metrics.OLDEST.labels(consumer.queue).set_function(self.oldest)
        metrics.HELD_UP.labels(consumer.queue).set_function(self.held_up)

    def start(self, background: Background) -> None:
        """Begin to take batches as soon as the probe succeeds."""
        queue = self._consumer.queue
        self._background = background
        self._taking = background.start(self._take(), name=f"take {queue}")
        background.start(self._consume_while_available(), name=f"availability of {queue}")
        background.start(self._retry_held(), name=f"held messages of {queue}")

    def oldest(self) -> float:
        """Return the seconds that the oldest message has waited which is in hand, or next; 0.0 when there is none.

        While nothing is consumed it is the one that was the oldest then, since it is still in the queue.
        """
        if self._given_back is not None:
            return age.seconds_since(self._given_back)
        return age.oldest(self._in_hand())

    def _in_hand(self) -> Iterator[IncomingMessage]:
        return chain(self._consumer.head, self._held, *self._works.values())

    def held_up(self) -> float:
        """Return the seconds for which something has been unavailable; 0.0 while the handler works."""
        now, since = time.monotonic(), self._unavailable_since
        if since is None or (self._available_since is not None and now - self._available_since > SETTLED_AFTER):
            return 0.0
        return now - since

    async def stop(self) -> None:
        """Take no more, finish and ack what is in hand, in bounded time. What is held up goes back."""
        if self._taking is not None and self._background is not None:
            with suppress(Exception):
                await self._consumer.cancel()
            self._background.expect_end(self._taking)
            self._taking.cancel()
            with suppress(asyncio.CancelledError):
                await self._taking
        if self._works:
            await asyncio.wait(self._works, timeout=0.0 if self.waiting_for else self._drain)
        for work in self._works:
            work.cancel()
        await asyncio.gather(*self._works, return_exceptions=True)

    async def _consume_while_available(self) -> None:
        """Consume while the handler can work; while it can't, the queue keeps everything."""
        while True:
            await self._until_available()
            self._given_back = None
            await self._consumer.resume()
            await self._is_unavailable.wait()
            self._is_unavailable.clear()
            log.warning("gives back what it holds", extra={"queue": self._consumer.queue, "reason": self.waiting_for})
            self._given_back = age.first_received(self._in_hand())
            await self._consumer.suspend()

    async def _until_available(self) -> None:
        while True:
            if self._failures:
                if self._given_back is None and (next_one := await self._consumer.peek()):
                    self._given_back = age.first_received([next_one])
                await asyncio.sleep(_pause(self._failures))
            try:
                await self._probe()
            except UnavailableError as error:
                self._note(str(error))
            except Exception as error:
                log.exception("probe failed", extra={"queue": self._consumer.queue})
                self._note(f"internal error ({type(error).__name__})")
            else:
                self.waiting_for, self._available_since = None, time.monotonic()
                return

    def _note(self, reason: str) -> None:
        """Note that something is unavailable, for `/readyz`, the log and the metric."""
        if self.held_up() == 0.0:
            self._unavailable_since = time.monotonic()
        self._available_since = None
        if self.waiting_for != reason or not self._failures % 10:
            log.warning("held up", extra={"queue": self._consumer.queue, "reason": reason})
        self._failures += 1
        self.waiting_for = reason

    def _worked(self) -> None:
        self._failures = 0
        self._unavailable_since = self.waiting_for = None

    async def _take(self) -> None:
        while True:
            await self._slots.acquire()
            try:
                batch = await self._consumer.take(self._batch, self._wait, MAX_BATCH_BYTES)
            except BaseException:
                self._slots.release()
                raise
            metrics.BATCH.labels(self._consumer.queue).observe(len(batch))
            self._last = asyncio.get_running_loop().create_task(self._work(batch, self._last))
            self._works[self._last] = batch
            self._last.add_done_callback(self._works.pop)

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
            # Nothing was acked. A new connection makes the broker deliver again what this one holds.
            log.exception("batch failed", extra={"queue": self._consumer.queue, "messages": len(batch)})
            batch[0].session.end()  # at once: the ack of a later batch would ack these messages too
            self._consumer.reconnect("a batch could not be settled")
        finally:
            self._slots.release()

    async def _outcomes(self, batch: list[IncomingMessage]) -> list[Outcome]:
        """Return one outcome per message. Calls the handler until it isn't held up, or gives the batch back."""
        began = time.monotonic()
        attempt = 0
        while True:
            try:
                outcomes = list(await self._handle(batch))
            except UnavailableError as error:
                reason = str(error)
            except Exception as error:
                # A handler isolates what is about a message. What it didn't foresee is about none.
                log.exception("handler failed", extra={"queue": self._consumer.queue, "messages": len(batch)})
                reason = f"internal error ({type(error).__name__})"
            else:
                self._worked()
                return outcomes
            self._note(reason)
            if batch[0].session.is_gone:
                return [Settled.RETURNED] * len(batch)
            if time.monotonic() - began > HOLD_TIME:
                batch[0].session.end()  # at once: the ack of a later batch would ack these messages too
                self._is_unavailable.set()
                return [Settled.RETURNED] * len(batch)
            await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1

    async def _settle(self, batch: list[IncomingMessage], outcomes: list[Outcome]) -> None:
        """Ack what is done, with one frame where nothing before it is held."""
        queue = self._consumer.queue
        done = []
        for delivery, outcome in zip(batch, outcomes, strict=True):
            if outcome is Settled.DONE:
                done.append(delivery)
            elif outcome is Settled.HELD:
                self._hold(delivery)
        metrics.SETTLED.labels(queue, "done").inc(len(done))
        if not done:
            return
        if len(done) < len(batch) or self._held:
            for delivery in done:
                await deliveries.ack_one(delivery)
        else:
            await deliveries.ack(done)

    def _hold(self, delivery: IncomingMessage) -> None:
        if not self._held:
            self._held_since = time.monotonic()
        self._held[delivery] = None
        self._has_held.set()
        metrics.SETTLED.labels(self._consumer.queue, "held").inc()
        if len(self._held) > MAX_HELD or sum(len(held.body) for held in self._held) > MAX_HELD_BYTES:
            self._give_back("too many messages can't be handled while others can")

    def _give_back(self, reason: str) -> None:
        """Give everything back to the queue, and go on after a pause."""
        self._note(reason)
        for delivery in self._held:
            delivery.session.end()
        self._is_unavailable.set()

    async def _retry_held(self) -> None:
        """Try held messages again, each alone."""
        attempt = 0
        while True:
            await self._has_held.wait()
            attempt += 1
            await asyncio.sleep(_pause(attempt))
            for delivery in list(self._held):
                if delivery.session.is_gone or await self._handle_held(delivery):
                    self._held.pop(delivery, None)
            if not self._held:
                attempt = 0
                self._has_held.clear()
            elif time.monotonic() - self._held_since > MAX_HELD_TIME:
                self._give_back("messages have been held for too long")

    async def _handle_held(self, delivery: IncomingMessage) -> bool:
        """Handle one message alone; whether it is settled."""
        try:
            (outcome,) = await self._handle([delivery])
            if outcome is Settled.DONE:
                await deliveries.ack_one(delivery)
                metrics.SETTLED.labels(self._consumer.queue, "done").inc()
        except UnavailableError as error:
            log.debug("held", extra={"queue": self._consumer.queue, "reason": str(error)})
            return False
        except Exception:
            log.exception("handler failed", extra={"queue": self._consumer.queue, "messages": 1})
            return False
        return outcome is Settled.DONE


def _pause(attempt: int) -> float:
    """Return the seconds to wait after that many attempts in a row."""
    return PAUSES[min(attempt, len(PAUSES)) - 1]
