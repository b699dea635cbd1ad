"""Structured logs: one JSON line per unit of work on standard error.

Each line has `time`, `level`, `logger` and `message`, and then its own fields. Most lines are records of `logging`,
which `JsonFormatter` formats. The lines of single requests and single attempts go to a `LineWriter` instead, because
`logging` would take a tenth of the time of an attempt.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

import orjson

from schemas.envelope import rfc3339

SECRET = "[secret]"  # noqa: S105 - replaces secrets in the log
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON: time, level, logger and message, then the fields of `extra`."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self.secrets = list(secrets)
        """Values that are replaced wherever they occur: a last line of defence, not a licence to log secrets."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": rfc3339(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        line = orjson.dumps(fields, default=str).decode()
        for secret in self.secrets:
            if secret in line:
                line = line.replace(secret, SECRET)
        return line


class LineWriter:
    """Writes the log lines of one iteration of the event loop together."""

    def __init__(self, write: Callable[[bytes], object] | None = None) -> None:
        """`write` is called with bytes that end in a newline; by default they go to standard error, as all logs do."""
        self._write = write or _write_to_stderr
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Add a line with its newline, which is written before the event loop next waits for sockets."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(line)

    def add_fields(self, fields: Mapping[str, object]) -> None:
        """Add a line of these fields, in their order."""
        self.add(orjson.dumps(fields, str, orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z).decode())

    def flush(self) -> None:
        """Write the lines that were added since the last flush."""
        lines, self._lines = self._lines, []
        if lines:
            self._write("".join(lines).encode())


def _write_to_stderr(lines: bytes) -> None:
    sys.stderr.buffer.write(lines)
    sys.stderr.buffer.flush()


TERSE = ("aio_pika", "aiormq", "asyncio", "aiohttp")
"""Loggers of libraries of which only errors are logged."""


def setup(level: str, secrets: Iterable[str]) -> JsonFormatter:
    """Configure all logging of this process, and return the formatter, which needs the new secrets after a reload."""
    formatter = JsonFormatter(secrets)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("crossdock").setLevel(level.upper())
    # Their warnings repeat our own lines about the same event, at length and sometimes with URLs.
    for name in TERSE:
        logging.getLogger(name).setLevel(logging.ERROR)
    return formatter
