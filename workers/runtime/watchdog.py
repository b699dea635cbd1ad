"""Ends a process whose event loop is stuck in our own code.

A message that takes minutes to decode stops everything that its worker does, heartbeats included. The connection is
then lost, the message is delivered to the next worker, and so on. The kernel counts the processor time of this process
and ends it, with a traceback, where the loop doesn't come round in time; the message comes again as redelivered, and
is rehearsed before anybody handles it (`workers.runtime.rehearsal`). Processor time, because a busy or stopped machine
must not end anybody.
"""

import asyncio
import faulthandler
import signal
import sys

LIMIT = 5.0
"""Seconds of processor time in one turn of the loop. A batch of the largest size takes a fraction of one."""
INTERVAL = 1.0
"""Seconds between two looks."""


def arm(limit: float = LIMIT) -> None:
    """End this process after `limit` seconds of processor time unless it is armed again; 0.0 disarms."""
    signal.setitimer(signal.ITIMER_PROF, limit)


def set_up() -> None:
    """Write a traceback to standard error when the time is over, and end the process. It holds no values."""
    if sys.stderr is not None:
        faulthandler.register(signal.SIGPROF, file=sys.__stderr__ or sys.stderr, all_threads=False, chain=True)


async def run() -> None:
    """Keep this process armed until it is cancelled."""
    set_up()
    try:
        while True:
            arm()
            await asyncio.sleep(INTERVAL)
    finally:
        arm(0.0)
