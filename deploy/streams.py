"""Standard streams that the caller has closed, as in `crossdock find 7 >&-`, lead to the null device instead.

Without them, Python has None for a stream, and the next file or socket that is opened takes the stream's number: what
is meant for standard output then goes into it, and libuv aborts.
"""

import os
import sys
from contextlib import suppress

STREAMS = ("stdin", "stdout", "stderr")
"""Names of the standard streams, in the order of their descriptors."""


def open_missing() -> None:
    """Open each standard stream that is closed on the null device. Call it before anything else is opened."""
    for number, name in enumerate(STREAMS):
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one or an earlier one
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            # The descriptor stays open for child processes, which inherit it.
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False))


def flush() -> OSError | None:
    """Write what is left in the buffer of standard output; return why that failed, or None.

    What could not be written is dropped, because Python would try again when it ends, and print a traceback.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        handle = os.open(os.devnull, os.O_WRONLY)
        with suppress(OSError, ValueError):
            os.dup2(handle, sys.stdout.fileno())
            sys.stdout.flush()
        os.close(handle)
        return None if isinstance(error, BrokenPipeError) else error  # the reader of a pipe may stop reading
    return None
