"""One wide JSON line an attempt, written once a turn of the loop: logging's own way is a tenth of an attempt's time."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any

import orjson


class Lines:
    """`write` takes bytes that end in a newline; by default standard error, where all our logs go."""

    def __init__(self, write: Callable[[bytes], object] | None = None) -> None:
        self._write = write
        self._lines: list[bytes] = []

    def line(self, fields: Mapping[str, Any]) -> None:
        """Logs; written before the loop next waits for sockets."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(orjson.dumps(fields, str, orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z))

    def flush(self) -> None:
        """Writes what has gathered."""
        lines, self._lines = self._lines, []
        if self._write is not None:
            self._write(b"".join(lines))
        else:
            sys.stderr.buffer.write(b"".join(lines))
            sys.stderr.buffer.flush()


LINES = Lines()
