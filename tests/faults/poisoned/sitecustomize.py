"""The poison of a worker that a fault starts with this folder on its PYTHONPATH.

Python imports this module before everything else. From then on, reading a document that contains one of the texts below
ends the process as a crash in C code does, or takes minutes.
"""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from schemas import documents

KILL = b"crossdock-poison-kill"
HANG = b"crossdock-poison-hang"
MINUTES = 5


def poisoned(describe: Callable[..., Any]) -> Callable[..., Any]:
    """Return a reader of documents that fails on the texts above."""

    def read(platform: Any, event: str, body: bytes, *more: Any, **named: Any) -> Any:
        if KILL in body:
            os.kill(os.getpid(), signal.SIGSEGV)
        if HANG in body:
            until = time.monotonic() + 60 * MINUTES
            while time.monotonic() < until:
                pass
        return describe(platform, event, body, *more, **named)

    return read


documents.describe = poisoned(documents.describe)
