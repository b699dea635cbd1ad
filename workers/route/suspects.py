"""Requests that were delivered before: one of them may be what ended the worker that had them.

They are read by a copy of this process first (`workers.runtime.rehearsal`), so that no other shopper waits for a
request that takes minutes, and none is lost with a worker that it ends. A culprit is acknowledged without being read
here: the store worker has a copy of its own, isolates it in the same way and puts it into quarantine.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from broker import consumer as deliveries
from broker.consumer import IncomingMessage
from schemas import registry, topology
from schemas.envelope import Envelope
from workers.route import metrics
from workers.runtime import rehearsal
from workers.runtime.outcomes import UnavailableError

log = logging.getLogger("crossdock.route")

PAUSE = 1.0
"""Seconds until they are read again, where no copy could be made."""

Read = Callable[[Envelope, bytes], object]
"""Works out an answer, as the worker will. What it raises is the worker's to deal with."""


class Suspect(NamedTuple):
    """A request that was delivered before, and what to do with it if it did no harm."""

    request: Envelope
    delivery: IncomingMessage
    handle: Callable[[], object]


class Suspects:
    """Reads what was redelivered in copies of this process, and hands on what doesn't end them."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._waiting: list[Suspect] = []
        self._examined: list[Suspect] = []
        self._arrived = asyncio.Event()

    def add(self, suspect: Suspect) -> None:
        """Take a request that was delivered before."""
        self._waiting.append(suspect)
        self._arrived.set()

    def deliveries(self, queue: str) -> list[IncomingMessage]:
        """Return what has come through a queue and is not handled yet."""
        held = (*self._examined, *self._waiting)
        return [one.delivery for one in held if topology.reply_queue(one.request.platform) == queue]

    async def run(self) -> None:
        """Read what comes, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                self._examined, self._waiting = self._waiting, []
                batch = self._examined = [one for one in self._examined if not one.delivery.session.is_gone]
                try:
                    await self._examine(batch)
                except UnavailableError as error:
                    log.warning("requests can't be examined", extra={"error": str(error)})
                    self._waiting[:0] = self._examined
                    self._examined = []
                    await asyncio.sleep(PAUSE)

    async def _examine(self, batch: list[Suspect]) -> None:
        """Hand on what does no harm at once; then try what ended a copy, alone."""

        def read(place: int) -> None:
            self._read(batch[place].request, batch[place].delivery.body)

        suspects = await rehearsal.find_suspects(len(batch), read)
        self._examined = [batch[place] for place in suspects]
        for place, one in enumerate(batch):
            if place not in suspects:
                one.handle()
        for place, why in suspects.items():
            one = batch[place]
            verdict = await rehearsal.convict(place, why, read, control=read_examples)
            self._examined.remove(one)
            if verdict is None:
                one.handle()
            else:
                await self._settle_culprit(one.request, one.delivery, verdict)

    async def _settle_culprit(self, request: Envelope, delivery: IncomingMessage, reason: str) -> None:
        log.error("request failed", extra={"id": request.message_id, "platform": request.platform, "reason": reason})
        metrics.ANSWERS.labels(request.platform, request.account, "failed").inc()
        with suppress(Exception):  # its connection has broken: it comes again
            await deliveries.ack_one(delivery)


def read_examples() -> None:
    """Decode the documented example of each event that is answered, which is known to be harmless, as a control."""
    for platform in registry.platforms().values():
        for event in platform.events:
            if event.reply is not None:
                platform.decode(event.name, registry.example(platform.name, event.examples[0]))
