"""How many messages wait in each queue, as a metric, also where no worker runs that could report it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from broker import metrics, topology

log = logging.getLogger("crossdock.broker")

INTERVAL = 15.0
"""Seconds between looks: passive declares on a connection of their own, which a memory or disk alarm doesn't block."""
LOOK_TIMEOUT = 10.0
"""Seconds for one look."""
MISSING_LOOKS = 40
"""Looks (ten minutes) until a queue that did not exist is asked for again: RabbitMQ logs an error for each one."""


async def _nothing_more() -> Iterable[str]:
    return ()


async def watch(
    amqp_url: str, more: Callable[[], Awaitable[Iterable[str]]] = _nothing_more, *, shards: int = 1
) -> None:
    """Look again and again, until cancelled. `more` names queues beside those of the topology.

    `shards`: as configured; other store queues are not asked for. Unavailable servers are reported elsewhere; a queue
    that can't be looked at has no sample.
    """
    look: asyncio.Task[dict[str, tuple[int, int]]] | None = None
    missing: dict[str, int] = {}
    try:
        while True:
            missing = {name: looks - 1 for name, looks in missing.items() if looks > 1}
            names = [name for name in await more() if name not in missing]
            # A task of its own: the library may make an error, or nothing at all, of a cancellation that reaches it.
            look = asyncio.get_running_loop().create_task(topology.depths(amqp_url, names, shards=shards), name="look")
            await asyncio.wait((look,), timeout=LOOK_TIMEOUT)
            found = _show(look)
            if found:
                missing |= {name: MISSING_LOOKS for name in names if name not in found}
            await asyncio.sleep(INTERVAL)
    finally:
        if look is not None:
            look.add_done_callback(_error)  # nobody else looks at what became of it
            look.cancel()


def _error(look: "asyncio.Task[dict[str, tuple[int, int]]]") -> str:
    """Empty when it succeeded."""
    if look.cancelled():
        return "cancelled"
    error = look.exception()
    return f"{type(error).__name__}: {error}" if error is not None else ""


def _show(look: "asyncio.Task[dict[str, tuple[int, int]]]") -> dict[str, tuple[int, int]]:
    """Set the metrics and return what was found."""
    found: dict[str, tuple[int, int]] = {}
    if not look.done():
        look.cancel()
    elif not (error := _error(look)):
        found = look.result()
    else:
        log.debug("queues not looked at", extra={"error": error})
    for gauge, place in ((metrics.MESSAGES, 0), (metrics.CONSUMERS, 1)):
        gauge.clear()
        for queue, counts in found.items():
            gauge.labels(queue).set(counts[place])
    return found
