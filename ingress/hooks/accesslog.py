"""One JSON line a request, gathered for one write a turn of the loop. Never the query string: it may be a secret."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import orjson


class AccessLog:
    """`write` takes bytes that end in a newline; by default standard error, where all our logs go."""

    def __init__(self, write: Callable[[bytes], object] | None = None) -> None:
        self._write = write or sys.stderr.buffer.write
        self._lines: list[bytes] = []

    def line(self, fields: dict[str, Any]) -> None:
        """Logs one request; written before the loop next waits for sockets."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE, default=str))

    def flush(self) -> None:
        """Writes what has gathered."""
        lines, self._lines = self._lines, []
        if lines:
            self._write(b"".join(lines))
            if self._write == sys.stderr.buffer.write:
                sys.stderr.buffer.flush()
