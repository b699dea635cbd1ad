"""What went wrong with an attempt, from the error that aiohttp raised: an outcome of the ledger and a text.

Texts are ours: aiohttp's own carry the URL, whose query is a secret.
"""

import errno
import logging
import os
import ssl
from collections.abc import Iterator

import aiohttp

from workers.deliver.answer import Outcome
from workers.deliver.connector import BlockedAddress

log = logging.getLogger("crossdock.deliver")
_CLOSED = (ConnectionResetError, ConnectionAbortedError)
"""When connecting with TLS these come from the handshake: a port that was never accepted refuses, it does not reset."""


def explain(error: Exception, *, https: bool) -> tuple[Outcome, str]:
    """Outcome and text, for any error. What is not foreseen is logged, by type and place only."""
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, BlockedAddress):
            return "blocked", f"{each.strerror}; use a public one, or have its network allowed"
    for each in reversed(chain):  # innermost first: aiohttp's own is an SSLError too, but one without a reason
        if isinstance(each, ssl.SSLError):
            return "tls", _tls(each)
    if https and isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, _CLOSED):
        return "tls", "the connection was closed during the TLS handshake; does this port speak TLS?"
    if any(isinstance(each, TimeoutError) for each in chain):
        return "timeout", "no complete answer in time"
    return "connection", _connection(error, chain)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what aiohttp wrapped in it, and their causes. Not contexts: those may be of something else."""
    seen: BaseException | None = error
    for _ in range(8):  # a cycle would be a bug elsewhere; it must not become one here
        if seen is None:
            return
        yield seen
        seen = seen.os_error if isinstance(seen, aiohttp.ClientConnectorError) else seen.__cause__


def _tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    reason = getattr(error, "reason", None) or "unknown reason"
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return "the server does not speak TLS at this port"
    return f"TLS failed: {reason.lower().replace('_', ' ')}"


def _connection(error: Exception, chain: list[BaseException]) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host's name was not found"
    for each in chain:
        if isinstance(each, OSError) and each.errno is not None and each.errno in errno.errorcode:
            return os.strerror(each.errno).lower()
    match error:
        case aiohttp.ClientPayloadError():
            return "the answer was cut off"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed without an answer"
        case aiohttp.ClientResponseError():
            return "the answer is no HTTP"
        case aiohttp.ClientError() | OSError():
            return "the connection failed"
    name = type(error).__name__
    where, step = "", error.__traceback__
    while step is not None:
        where, step = f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}", step.tb_next
    log.error("unforeseen error of an attempt", extra={"error": name, "where": where})
    return f"the attempt failed ({name})"
