"""Export the depth of every queue as a metric, even if the worker that consumes it does not run."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from broker import metrics, topology
from broker.refusals import describe

log = logging.getLogger("crossdock.broker")

INTERVAL = 15.0
"""Seconds between two measurements.

Each uses passive declarations on its own connection, which a memory or disk alarm does not block.
"""
LOOK_TIMEOUT = 10.0
"""Maximum seconds for one measurement."""
MISSING_LOOKS = 40
"""Measurements, ten minutes' worth, after which a missing queue is queried again.

RabbitMQ logs an error for each query of a queue that does not exist.
"""


async def _nothing_more() -> Iterable[str]:
    return ()


async def watch(
    amqp_url: str, more: Callable[[], Awaitable[Iterable[str]]] = _nothing_more, *, shards: int = 1
) -> None:
    """Measure the queues every `INTERVAL` seconds until cancelled.

    `more` returns the names of queues in addition to those of the topology. `shards`: the configured number; no other
    store queues are queried. Connection errors are only logged at debug level, because other components report them; a
    queue that cannot be measured has no sample.
    """
    look: asyncio.Task[dict[str, tuple[int, int]]] | None = None
    missing: dict[str, int] = {}
    try:
        while True:
            missing = {name: looks - 1 for name, looks in missing.items() if looks > 1}
            names = [name for name in await more() if name not in missing]
            # This is a separate task because aiormq may turn a cancellation that reaches it into an error, or swallow
            # it.
            look = asyncio.get_running_loop().create_task(topology.depths(amqp_url, names, shards=shards), name="look")
            await asyncio.wait((look,), timeout=LOOK_TIMEOUT)
            found = _show(look)
            if found:
                missing |= {name: MISSING_LOOKS for name in names if name not in found}
            await asyncio.sleep(INTERVAL)
    finally:
        if look is not None:
            look.add_done_callback(_error)  # retrieves the result, which nothing else does
            look.cancel()


def _error(look: "asyncio.Task[dict[str, tuple[int, int]]]") -> str:
    """Return the error of a finished measurement as text; empty if it succeeded."""
    if look.cancelled():
        return "cancelled"
    error = look.exception()
    return describe(error) if error is not None else ""


def _show(look: "asyncio.Task[dict[str, tuple[int, int]]]") -> dict[str, tuple[int, int]]:
    """Set the metrics from a measurement and return its result."""
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
