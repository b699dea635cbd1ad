"""The age of the oldest message, computed only when the metrics are read.

A queue is first in, first out, and a consumer receives its head. The oldest message that a worker holds is therefore
the oldest that waits, however many are behind it. If no worker is running, no message is held by one, and
`crossdock_queue_consumers` is 0.
"""

from collections.abc import Iterable
from datetime import datetime

from broker.consumer import IncomingMessage
from schemas import envelope


def oldest(held: Iterable[IncomingMessage]) -> float:
    """Return the seconds since the ingress received the oldest message; 0.0 if none of them carries its time."""
    return seconds_since(first_received(held))


def first_received(held: Iterable[IncomingMessage]) -> str | None:
    """Return the header `received-at` of the oldest message; None if none of them has it."""
    # The header is RFC 3339 in UTC with six decimals, as we write it, so the order of texts is the order of times.
    return min((received_at for message in held if (received_at := _received_at(message))), default=None)


def seconds_since(received_at: str | None) -> float:
    """Return the seconds since a time in the format of messages; 0.0 if it is None or not a valid time."""
    if received_at is None:
        return 0.0
    try:
        return max(0.0, (envelope.now() - datetime.fromisoformat(received_at)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _received_at(message: IncomingMessage) -> str | None:
    try:
        received_at = message.properties.headers.get("received-at")
    except ValueError:
        return None
    return received_at if isinstance(received_at, str) else None
