"""Export the depth of every queue as a metric, even if the worker that consumes it does not run."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from prometheus_client import Gauge

from broker import topology
from broker.connection import describe

log = logging.getLogger("crossdock.broker")

# Every process that measures exports the same values, as counted by the broker, so take the maximum.
MESSAGES = Gauge("crossdock_queue_messages", "Messages that wait in a queue and no consumer holds", ("queue",))
CONSUMERS = Gauge("crossdock_queue_consumers", "Consumers of a queue", ("queue",))

INTERVAL = 15.0
"""Seconds between two measurements.

Each uses passive declarations on its own connection, which a memory or disk alarm does not block.
"""
MEASURE_TIMEOUT = 10.0
"""Maximum seconds for one measurement."""
MISSING_PAUSE = 40
"""Measurements, ten minutes' worth, after which a missing queue is queried again.

RabbitMQ logs an error for each query of a queue that does not exist.
"""


async def _no_queues() -> Iterable[str]:
    return ()


async def watch(amqp_url: str, more: Callable[[], Awaitable[Iterable[str]]] = _no_queues, *, shards: int = 1) -> None:
    """Measure the queues every `INTERVAL` seconds until cancelled.

    `more` returns the names of queues in addition to those of the topology. `shards`: the configured number; no other
    store queues are queried. Connection errors are only logged at debug level, because other components report them; a
    queue that cannot be measured has no sample.
    """
    measurement: asyncio.Task[dict[str, tuple[int, int]]] | None = None
    missing: dict[str, int] = {}
    try:
        while True:
            missing = {name: measurements - 1 for name, measurements in missing.items() if measurements > 1}
            names = [name for name in await more() if name not in missing]
            # This is a separate task because aiormq may turn a cancellation that reaches it into an error, or swallow
            # it.
            measurement = asyncio.get_running_loop().create_task(
                topology.depths(amqp_url, names, shards=shards), name="measure-queues"
            )
            await asyncio.wait((measurement,), timeout=MEASURE_TIMEOUT)
            counts_by_queue = _export(measurement)
            if counts_by_queue:
                missing |= {name: MISSING_PAUSE for name in names if name not in counts_by_queue}
            await asyncio.sleep(INTERVAL)
    finally:
        if measurement is not None:
            measurement.add_done_callback(_error)  # retrieves the result, which nothing else does
            measurement.cancel()


def _error(measurement: "asyncio.Task[dict[str, tuple[int, int]]]") -> str:
    """Return the error of a finished measurement as text; empty if it succeeded."""
    if measurement.cancelled():
        return "cancelled"
    error = measurement.exception()
    return describe(error) if error is not None else ""


def _export(measurement: "asyncio.Task[dict[str, tuple[int, int]]]") -> dict[str, tuple[int, int]]:
    """Set the metrics from a measurement and return its result."""
    counts_by_queue: dict[str, tuple[int, int]] = {}
    if not measurement.done():
        measurement.cancel()
    elif not (error := _error(measurement)):
        counts_by_queue = measurement.result()
    else:
        log.debug("queues not measured", extra={"error": error})
    for gauge, place in ((MESSAGES, 0), (CONSUMERS, 1)):
        gauge.clear()
        for queue, counts in counts_by_queue.items():
            gauge.labels(queue).set(counts[place])
    return counts_by_queue
