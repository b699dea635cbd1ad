"""Responses, the errors raised in place of one, and the reading of responses that are not valid HTTP. Pure."""

import re

import msgspec

KEPT = 4096
"""Maximum bytes of a response body that are read and kept; enough to show a subscriber's error message."""
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
_HEAD_END = re.compile(rb"(?<=\n)\r?\n")
_RETRY_AFTER = re.compile(rb"^retry-after[ \t]*:(?P<value>[^\r\n]*)", re.MULTILINE | re.IGNORECASE)


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
    """The received data is not an HTTP response, or its head is too long."""


def find_status(data: bytes) -> tuple[int, int] | None:
    """Return the status of the first status line that is not an interim one (such as 100), and where that line ends.

    Returns None if only interim ones have arrived. Raises NotHTTPError if there is no status line.
    """
    is_http = False
    for line in _STATUS_LINE.finditer(data):
        status = int(line["status"])
        if status < 100:
            break
        is_http = True
        if status >= 200 or status == 101:
            return status, line.end()
    if not is_http:
        raise NotHTTPError
    return None


def read_headers(data: bytes, start: int) -> tuple[str | None, bytes] | None:
    """Return the value of Retry-After, if any, and what follows the headers; None if the headers are incomplete.

    `start` is the offset of the first header line. Lines that are not header lines are skipped.
    """
    end = _HEAD_END.search(data, start)
    if end is None:
        return None
    header = _RETRY_AFTER.search(data[start : end.start()])
    return header["value"].decode("latin-1").strip() if header else None, data[end.end() :]
