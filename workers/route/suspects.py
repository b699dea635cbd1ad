"""Redelivered requests: one of them may have ended the worker that had them.

They are first read by a copy of this process (`workers.runtime.rehearsal`), so that no other sender waits for a request
that takes minutes, and none is lost with a worker that such a request ends. A culprit is acknowledged and never read
here: the store worker has its own copy, isolates it in the same way and puts it into quarantine.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from broker import consumer as broker_consumer
from broker.consumer import IncomingMessage
from schemas import registry, topology
from schemas.envelope import Envelope
from workers.route import metrics
from workers.runtime import rehearsal
from workers.runtime.outcomes import UnavailableError

log = logging.getLogger("crossdock.route")

PAUSE = 1.0
"""Seconds until the requests are read again if the process could not be copied."""

Read = Callable[[Envelope, bytes], object]
"""A function that decides an answer as the worker will. The worker deals with what it raises."""


class Suspect(NamedTuple):
    """A redelivered request, and the function that handles it if it is harmless."""

    request: Envelope
    message: IncomingMessage
    handle: Callable[[], object]


class RedeliveredRequests:
    """Reads redelivered requests in copies of this process, and passes on those that do not end them."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._waiting: list[Suspect] = []
        self._examined: list[Suspect] = []
        self._arrived = asyncio.Event()

    def add(self, suspect: Suspect) -> None:
        """Add a redelivered request."""
        self._waiting.append(suspect)
        self._arrived.set()

    def messages(self, queue: str) -> list[IncomingMessage]:
        """Return the messages of a queue that are not handled yet."""
        pending = (*self._examined, *self._waiting)
        return [suspect.message for suspect in pending if topology.reply_queue(suspect.request.platform) == queue]

    async def run(self) -> None:
        """Examine requests until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                self._examined, self._waiting = self._waiting, []
                batch = [suspect for suspect in self._examined if not suspect.message.session.is_gone]
                self._examined = batch
                try:
                    await self._examine(batch)
                except UnavailableError as error:
                    log.warning("requests can't be examined", extra={"error": str(error)})
                    self._waiting[:0] = self._examined
                    self._examined = []
                    await asyncio.sleep(PAUSE)

    async def _examine(self, batch: list[Suspect]) -> None:
        """Pass on the harmless requests at once; then try each that ended a copy alone."""

        def read(place: int) -> None:
            self._read(batch[place].request, batch[place].message.body)

        suspects = await rehearsal.find_suspects(len(batch), read)
        self._examined = [batch[place] for place in suspects]
        for place, suspect in enumerate(batch):
            if place not in suspects:
                suspect.handle()
        for place, reason in suspects.items():
            suspect = batch[place]
            conviction = await rehearsal.convict(place, reason, read, control=read_examples)
            self._examined.remove(suspect)
            if conviction is None:
                suspect.handle()
            else:
                await self._settle_culprit(suspect.request, suspect.message, conviction)

    async def _settle_culprit(self, request: Envelope, message: IncomingMessage, reason: str) -> None:
        log.error("request failed", extra={"id": request.message_id, "platform": request.platform, "reason": reason})
        metrics.ANSWERS.labels(request.platform, request.account, "failed").inc()
        with suppress(Exception):  # its connection is lost, so it is delivered again
            await broker_consumer.ack_one(message)


def read_examples() -> None:
    """Decode the documented example of each event that is answered, which is known to be harmless, as a control."""
    for platform in registry.platforms().values():
        for event in platform.events:
            if event.reply is not None:
                platform.decode(event.name, registry.example(platform.name, event.examples[0]))
