"""Translates the errors of an attempt to the outcome and error text that are stored.

Only texts of our own are used, because the texts of libraries may contain secrets.
"""

import errno
import logging
import os
import ssl

from workers.deliver.attempt.connector import BlockedAddressError, HandshakeError, UnknownHostError
from workers.deliver.attempt.response import CutOffError, NoAnswerError, NotHTTPError
from workers.deliver.attempt.result import Outcome

log = logging.getLogger("crossdock.deliver")


def explain(error: Exception) -> tuple[Outcome, str]:
    """Return the outcome and the text for any error; an unexpected one is also logged, by type and location only."""
    match error:
        case BlockedAddressError():
            return "blocked", f"{error.strerror}; use a public one, or have its network allowed"
        case HandshakeError():
            return "tls", "the connection was closed during the TLS handshake; does this port speak TLS?"
        case ssl.SSLError():
            return "tls", _tls(error)
        case TimeoutError():
            return "timeout", "no complete answer in time"
        case UnknownHostError():
            return "connection", "the host's name was not found"
        case NoAnswerError():
            return "connection", "the connection was closed without an answer"
        case CutOffError():
            return "connection", "the answer was cut off"
        case NotHTTPError():
            return "connection", "the answer is not HTTP"
        case OSError():
            known = error.errno is not None and error.errno in errno.errorcode
            return "connection", os.strerror(error.errno or 0).lower() if known else "the connection failed"
    name = type(error).__name__
    where, step = "", error.__traceback__
    while step is not None:
        where, step = f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}", step.tb_next
    log.error("unexpected error of an attempt", extra={"error": name, "where": where})
    return "connection", f"the attempt failed ({name})"


def _tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    reason = getattr(error, "reason", None) or "unknown reason"
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return "the server does not speak TLS at this port"
    return f"TLS failed: {reason.lower().replace('_', ' ')}"
