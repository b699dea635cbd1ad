"""Structured logs: one JSON line per unit of work on standard error, with secrets replaced."""

import logging
import sys
from collections.abc import Iterable
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
    for name in ("aio_pika", "aiormq", "asyncio", "aiohttp"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return formatter
