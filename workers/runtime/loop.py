"""The loop of every worker that works in batches: take, handle, settle. The only code that acks.

Several batches may be under way (one decodes while another commits); they are settled in the order they were taken, so
that one frame acks a whole batch. What a handler can't do now is held, unacked, within the prefetch.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import chain

from pamqp.commands import Basic

from broker import consumer as deliveries
from broker import publisher
from broker.consumer import Consumer, Delivery
from schemas import properties, topology
from workers.runtime import age, metrics
from workers.runtime.outcomes import Dead, NotNow, Outcome, Settled

log = logging.getLogger("crossdock.worker")

Handle = Callable[[Sequence[Delivery]], Awaitable[Sequence[Outcome]]]
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts while something is away; the last repeats."""
SUSPICIOUS = 2
"""Failed deliveries after which a message is handled alone, after its innocent neighbours."""


class Loop:
    """Runs one handler over one queue until `stop`."""

    def __init__(
        self,
        consumer: Consumer,
        publish: publisher.Publisher,
        handle: Handle,
        *,
        batch: int,
        wait: float,
        drain: float,
        under_way: int = 1,
    ) -> None:
        """`batch` messages at most, `wait` seconds for company, `under_way` batches at a time.

        `drain`: seconds to finish what is in hand when told to stop; what isn't done by then is delivered again.
        """
        self._consumer = consumer
        self._publish = publish
        self._handle = handle
        self._batch = batch
        self._wait = wait
        self._drain = drain
        self._slots = asyncio.Semaphore(under_way)
        self._taking: asyncio.Task[None] | None = None
        self._last: asyncio.Task[None] | None = None
        self._works: dict[asyncio.Task[None], list[Delivery]] = {}
        """Batches under way."""
        self.waiting_for: str | None = None
        """What the handler is held up by, for /readyz."""
        metrics.OLDEST.labels(consumer.queue).set_function(self.oldest)

    def start(self) -> None:
        """Begins to take batches."""
        self._taking = asyncio.get_running_loop().create_task(self._take(), name=f"take-{self._consumer.queue}")

    def oldest(self) -> float:
        """Seconds that the oldest message has waited which is in hand, or next; 0.0 when there is none."""
        return age.oldest(chain(self._consumer.head, *self._works.values()))

    async def stop(self) -> None:
        """Takes no more, finishes and acks what is in hand, in bounded time. What is held up goes back."""
        if self._taking is not None:
            with suppress(Exception):
                await self._consumer.cancel()
            self._taking.cancel()
            with suppress(asyncio.CancelledError):
                await self._taking
        if self._works:
            await asyncio.wait(self._works, timeout=0.0 if self.waiting_for else self._drain)
        for work in self._works:
            work.cancel()
        await asyncio.gather(*self._works, return_exceptions=True)

    async def _take(self) -> None:
        while True:
            await self._slots.acquire()
            try:
                batch = await self._consumer.take(self._batch, self._wait)
            except BaseException:
                self._slots.release()
                raise
            metrics.BATCH.labels(self._consumer.queue).observe(len(batch))
            self._last = asyncio.get_running_loop().create_task(self._work(batch, self._last))
            self._works[self._last] = batch
            self._last.add_done_callback(self._works.pop)

    async def _work(self, batch: list[Delivery], before: "asyncio.Task[None] | None") -> None:
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
            self._consumer.give_up("a batch could not be settled")
        finally:
            self._slots.release()

    async def _outcomes(self, batch: list[Delivery]) -> list[Outcome]:
        """An outcome a message. Suspicious ones alone and last, so that poison takes nobody with it."""
        if not any(delivery.redelivered for delivery in batch):
            return await self._patiently(batch)
        found: dict[int, Outcome] = {}
        innocent = [delivery for delivery in batch if delivery.attempts < SUSPICIOUS]
        suspects = sorted((d for d in batch if d.attempts >= SUSPICIOUS), key=lambda d: d.attempts)
        for group in ([innocent] if innocent else []) + [[one] for one in suspects]:
            for delivery, outcome in zip(group, await self._patiently(group), strict=True):
                found[delivery.tag] = outcome
        return [found[delivery.tag] for delivery in batch]

    async def _patiently(self, group: list[Delivery]) -> list[Outcome]:
        """Calls the handler until it isn't held up. An unforeseen error is tracked down to its message."""
        attempt = 0
        while True:
            try:
                outcomes = list(await self._handle(group))
            except NotNow as reason:
                self.waiting_for = str(reason)
                log.warning("held up", extra={"queue": self._consumer.queue, "reason": str(reason)})
                if group[0].channel.is_closed:
                    return [Settled.FAILED] * len(group)  # settled on a channel that is gone: the broker knows already
                await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
                attempt += 1
            except Exception as error:
                if len(group) == 1:
                    log.exception(
                        "message failed", extra={"queue": self._consumer.queue, "attempts": group[0].attempts}
                    )
                    return [Settled.FAILED if group[0].attempts < SUSPICIOUS else Dead(_text(error))]
                half = len(group) // 2
                return await self._patiently(group[:half]) + await self._patiently(group[half:])
            else:
                self.waiting_for = None
                return outcomes

    async def _settle(self, batch: list[Delivery], outcomes: list[Outcome]) -> None:
        """Dead ones are published before anything is acked; failed ones go back; the rest is one ack."""
        done: list[Delivery] = []
        for delivery, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Dead):
                await self._bury(delivery, outcome)
                done.append(delivery)
                metrics.SETTLED.labels(self._consumer.queue, "dead").inc()
            elif outcome is Settled.FAILED:
                await deliveries.fail_one(delivery)
                metrics.SETTLED.labels(self._consumer.queue, "failed").inc()
            else:
                done.append(delivery)
        if done:
            await deliveries.ack(done)
            metrics.SETTLED.labels(self._consumer.queue, "done").inc(len(done))

    async def _bury(self, delivery: Delivery, outcome: Dead) -> None:
        try:
            found = properties.decode(delivery.encoded)
        except ValueError:
            found = Basic.Properties()
        name = found.message_id or f"{self._consumer.queue}/{delivery.tag}"
        headers = {**(found.headers or {}), "reason": outcome.reason, "queue": self._consumer.queue}
        copy = Basic.Properties(
            content_type=found.content_type,
            headers=headers,
            delivery_mode=2,
            message_id=name,
            timestamp=found.timestamp,
        )
        log.error("message is dead", extra={"id": name, "queue": self._consumer.queue, "reason": outcome.reason})
        await self._publish.publish("", topology.DEAD, copy.marshal(), name, delivery.body)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:1000]
