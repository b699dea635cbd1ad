"""One JSON line a request, gathered for one write a turn of the loop. Never the query string: it may be a secret."""

import asyncio
import sys
import time
from collections.abc import Callable

import orjson

from schemas.envelope import rfc3339_of


class AccessLog:
    """`write` takes bytes that end in a newline; by default standard error, where all our logs go."""

    def __init__(self, write: Callable[[bytes], object] | None = None) -> None:
        self._write = write or sys.stderr.buffer.write
        self._lines: list[str] = []
        self._time = ""

    def line(
        self,
        about: str,
        status: int,
        seconds: float,
        size: int,
        message_id: str | None,
        reason: str | None,
        remote: str | None,
        method: str,
    ) -> None:
        """Logs one request; written before the loop next waits for sockets. All of a turn have the time of its first.

        `about`: JSON members that name the URL, encoded before. Only what a sender can choose is escaped here.
        """
        if not self._lines:
            self._time = rfc3339_of(time.time())
            asyncio.get_running_loop().call_soon(self.flush)
        text = (
            f'{{"time":"{self._time}","level":"info","logger":"crossdock.access","message":"request","status":{status},'
            f'"ms":{seconds * 1000:.2f},"bytes":{size},"remote":"{remote or ""}",'
        )
        if message_id is not None:
            text += f'"id":"{message_id}",'
        if reason is not None:
            text += f'"reason":{orjson.dumps(reason).decode()},"method":{orjson.dumps(method).decode()},'
        self._lines.append(f"{text}{about}}}\n")

    def flush(self) -> None:
        """Writes what has gathered."""
        lines, self._lines = self._lines, []
        if lines:
            self._write("".join(lines).encode())
            if self._write == sys.stderr.buffer.write:
                sys.stderr.buffer.flush()
