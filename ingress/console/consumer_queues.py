"""The queues of systems that consume events, as `crossdock consumers list` shows them."""

import asyncio
import time
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import msgspec

from broker import topology
from ingress.console.context import Context
from ingress.console.visit import Visit
from storage import consumers

BROKER_TIMEOUT = 1.5
"""Seconds that a page waits for the broker."""
FRESH = 2.0
"""Seconds for which depths are shown again without being asked for."""

_depths: "WeakKeyDictionary[Context, tuple[float, frozenset[str], dict[str, tuple[int, int]]]]" = WeakKeyDictionary()


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
    names = [name for consumer in registered for name in (consumer.queue, consumer.dead)]
    depths, unknown = await _read_depths(visit.context, names)
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


async def _read_depths(context: Context, names: Sequence[str]) -> tuple[dict[str, tuple[int, int]], str | None]:
    if not names:
        return {}, None
    if context.amqp_url is None:
        return {}, "The broker was not asked, because this console has no AMQP_URL."
    key = frozenset(names)
    cached = _depths.get(context)
    if cached is not None and cached[1] == key and time.monotonic() - cached[0] < FRESH:
        return cached[2], None
    try:
        async with asyncio.timeout(BROKER_TIMEOUT):
            depths = await topology.depths_of(context.amqp_url, names)
    except Exception:  # whatever is wrong with the broker, the rest of the page does not depend on it
        return {}, "The broker does not answer, so that the numbers are unknown."
    _depths[context] = (time.monotonic(), key, depths)
    return depths, None
