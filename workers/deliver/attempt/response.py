"""Responses, the errors raised in place of one, and the reading of responses that are not valid HTTP. Pure."""

import re

import msgspec

KEPT = 4096
"""Maximum bytes of a response body that are read and kept; enough to show a subscriber's error message."""
LONGEST_LINE = 1024
"""Maximum bytes of an incomplete line that `HeadScanner` keeps."""
WITH_RETRY_AFTER = frozenset({429, 503})
"""Statuses whose Retry-After counts (contract §6)."""
LENIENT = dict.fromkeys(
    (
        "lenient_headers",
        "lenient_chunked_length",
        "lenient_transfer_encoding",
        "lenient_version",
        "lenient_optional_lf_after_cr",
        "lenient_optional_cr_before_lf",
        "lenient_optional_crlf_after_chunk",
        "lenient_spaces_after_chunk_size",
    ),
    True,
)
"""Leniencies of the parser for reading a response again that is not quite valid HTTP."""

_STATUS_LINE = re.compile(rb"^HTTP/[0-9](?:\.[0-9])? +(?P<status>[0-9]{3})(?=[ \r\n])[^\n]*\n", re.MULTILINE)
_HEAD_END = re.compile(rb"^\r?\n", re.MULTILINE)
_RETRY_AFTER = re.compile(rb"^retry-after[ \t]*:(?P<value>[^\n]*)\n", re.MULTILINE | re.IGNORECASE)


class ResponseHead(msgspec.Struct, frozen=True):
    """The response to one request."""

    status: int
    body: bytes
    """The first KEPT bytes of the body, as received."""
    cut: bool
    """Whether the body was longer, or its end unknown."""
    retry_after: str | None


class NoAnswerError(Exception):
    """The connection was closed without a response."""


class CutOffError(Exception):
    """The connection was closed in the middle of a response's head."""


class NotHTTPError(Exception):
    """The received data is not an HTTP response."""


class HeadScanner:
    """Reads the head of a response of which only the status line and Retry-After matter.

    Lines that are not header lines are skipped. No more is kept than the beginning of the last line.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        """Status of the first status line that is not an interim one (such as 100)."""
        self.retry_after: str | None = None
        self.body = b""
        """What follows the head, as far as it has arrived."""
        self._line = b""
        self._is_http = False

    def feed(self, data: bytes) -> bool:
        """Read on, and return whether the head is complete. Raises NotHTTPError if there is no status line."""
        data = self._line + data
        start = 0 if self.status is not None else self._read_status(data)
        if self.status is not None:
            end = _HEAD_END.search(data, start)
            header = _RETRY_AFTER.search(data, start, len(data) if end is None else end.start())
            if header is not None:
                self.retry_after = header["value"].decode("latin-1").strip()
            if end is not None:
                self.body = data[end.end() :]
                return True
        last = data.rfind(b"\n") + 1
        self._line = data[last : last + LONGEST_LINE]
        return False

    def _read_status(self, data: bytes) -> int:
        """Look for the final status line; return where the header lines after it begin."""
        for line in _STATUS_LINE.finditer(data):
            status = int(line["status"])
            if status < 100:
                raise NotHTTPError
            self._is_http = True
            if status >= 200 or status == 101:
                self.status = status
                return line.end()
        if not self._is_http:
            raise NotHTTPError
        return 0
