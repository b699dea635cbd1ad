"""Publishes the events of what was committed, and waits for RabbitMQ's confirms."""

import logging
from uuid import UUID

from broker.outgoing import MessageError, Outgoing, TooLargeError, explain
from broker.publisher import Publisher
from workers.runtime.outcomes import UnavailableError
from workers.store import announce, metrics
from workers.store.write import WriteResult

log = logging.getLogger("crossdock.store")


class Announcer:
    """Announces batches. An event that is too large for RabbitMQ is announced without its data."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def announce(self, written: WriteResult, public_url: str) -> None:
        """Publish the events of a batch, and return once all of them are confirmed.

        `public_url`: where an event that is published without its data can be read. Raises UnavailableError, after
        which the batch must be handled again, so that its events are published again under the same ids.
        """
        events = list(announce.events_by_version(written.versions, written.notices))
        if not events:
            return
        try:
            try:
                await self._publisher.publish_all([self._fitting(*event, public_url) for event in events])
            except MessageError:
                # If it was the broker's limit, it is known from now on. Publishing each alone shows which one fails,
                # and the others don't wait for it.
                for event in events:
                    await self._announce_alone(*event, public_url)
        except Exception as error:
            raise UnavailableError(f"events are not confirmed ({explain(error)})") from error

    async def _announce_alone(self, version_id: UUID, event: Outgoing, public_url: str) -> None:
        try:
            await self._publisher.publish(*self._fitting(version_id, event, public_url))
        except TooLargeError:  # the publisher has learnt the limit from this event
            await self._publisher.publish(*self._fitting(version_id, event, public_url))
        except MessageError as error:
            # It is stored, and subscribers get it; publishing it again would always end in the same way.
            metrics.UNANNOUNCED.inc()
            log.error("event can't be announced", extra={"id": event.message_id, "error": str(error)})

    def _fitting(self, version_id: UUID, event: Outgoing, public_url: str) -> Outgoing:
        """Return the event as the broker accepts it, as far as its limit is known."""
        limit = self._publisher.max_message_size
        if limit is None or len(event.body) <= limit:
            return event
        return announce.without_data(event, version_id, public_url)
