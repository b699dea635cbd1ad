"""Ends a process whose event loop is stuck in our own code.

A message that takes minutes to decode stops everything that its worker does, heartbeats included. The connection is
then lost, the message is delivered to the next worker, and so on. The kernel counts the processor time of this process
and ends it, with a traceback, if the loop does not complete an iteration in time. The message is then redelivered, and
rehearsed before it is handled (`workers.runtime.rehearsal`). The limit is in processor time, because a busy or
suspended machine must not end any process.
"""

import asyncio
import faulthandler
import signal
import sys

LIMIT = 5.0
"""Seconds of processor time in one iteration of the loop; a batch of the largest size takes less than one second."""
INTERVAL = 1.0
"""Seconds after which the limit starts anew while the loop is not stuck."""


def arm(limit: float = LIMIT) -> None:
    """End this process after `limit` seconds of processor time unless it is armed again; 0.0 disarms."""
    signal.setitimer(signal.ITIMER_PROF, limit)


def set_up() -> None:
    """Write a traceback, which contains no values, to standard error before the process ends at the limit."""
    if sys.stderr is not None:
        faulthandler.register(signal.SIGPROF, file=sys.__stderr__ or sys.stderr, all_threads=False, chain=True)


async def run() -> None:
    """Start the limit anew, again and again, until cancelled."""
    set_up()
    try:
        while True:
            arm()
            await asyncio.sleep(INTERVAL)
    finally:
        arm(0.0)
