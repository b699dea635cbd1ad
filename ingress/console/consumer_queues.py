"""The queues of systems that consume events, as `crossdock consumers list` shows them."""

from collections.abc import Mapping, Sequence

import msgspec

from ingress.console.visit import Visit
from storage import consumers


class ConsumerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One consumer; the numbers are None if its queue does not exist, or if the broker was not asked."""

    name: str
    queue: str
    types: Sequence[str]
    accounts: Sequence[str]
    messages: int | None
    dead: int | None
    consumers: int | None


class Queues(msgspec.Struct, frozen=True, kw_only=True):
    """The consumers, and why their queues' depths are unknown, if they are."""

    rows: Sequence[ConsumerLine]
    unknown: str | None


async def read_queues(visit: Visit) -> Queues:
    """Return the consumers with the depths of their queues, as far as they are known."""
    registered = [row.consumer for row in await consumers.listing(visit.connection)]
    depths, unknown = await _read_depths(visit) if registered else ({}, None)
    rows = [
        ConsumerLine(
            name=consumer.name,
            queue=consumer.queue,
            types=consumer.types,
            accounts=consumer.accounts,
            messages=depths.get(consumer.queue, (None, None))[0],
            dead=depths.get(consumer.dead, (None, None))[0],
            consumers=depths.get(consumer.queue, (None, None))[1],
        )
        for consumer in registered
    ]
    return Queues(rows=rows, unknown=unknown)


async def _read_depths(visit: Visit) -> tuple[Mapping[str, tuple[int, int]], str | None]:
    """Return the depths that all viewers share, or none and why."""
    state = await visit.context.overview.current()
    if state.depths is not None:
        return state.depths, None
    if state.unknown is not None:
        return {}, f"The broker does not answer, so that the numbers are unknown: {state.unknown}"
    return {}, "The broker was not asked, because this console has no AMQP_URL."
