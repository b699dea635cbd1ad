"""How much waits in each queue, as a metric, also of queues whose consumers are away: whoever is down tells nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from broker import metrics, topology

log = logging.getLogger("crossdock.broker")

INTERVAL = 15.0
"""Seconds between looks: passive declares on a connection of their own, which a memory or disk alarm doesn't block."""
LOOK_TIMEOUT = 10.0
"""Seconds for one look."""


async def _nothing_more() -> Iterable[str]:
    return ()


async def watch(amqp_url: str, more: Callable[[], Awaitable[Iterable[str]]] = _nothing_more) -> None:
    """Until it is cancelled. `more` names queues beside those of the topology.

    Servers that are away are somebody else's to report; of a queue that can't be looked at there is no sample.
    """
    look: asyncio.Task[dict[str, tuple[int, int]]] | None = None
    try:
        while True:
            # A task of its own: the library may make an error, or nothing at all, of a cancellation that reaches it.
            look = asyncio.get_running_loop().create_task(topology.depths(amqp_url, await more()), name="look")
            await asyncio.wait((look,), timeout=LOOK_TIMEOUT)
            _show(look)
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


def _show(look: "asyncio.Task[dict[str, tuple[int, int]]]") -> None:
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
