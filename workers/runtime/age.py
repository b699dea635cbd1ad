"""How long the oldest message has waited, worked out when somebody looks: nothing is counted while messages pass.

A queue is first in, first out, and a consumer is given its head: the oldest message that a worker holds is the oldest
that waits, however many wait behind it. Where no worker is left nobody holds any, and
`crossdock_queue_consumers` is 0.
"""

from collections.abc import Iterable
from datetime import datetime

from broker.consumer import IncomingMessage
from schemas import envelope


def oldest(held: Iterable[IncomingMessage]) -> float:
    """Seconds since the oldest was received at the door; 0.0 where there is none, or none says when."""
    return seconds_since(first_received(held))


def first_received(held: Iterable[IncomingMessage]) -> str | None:
    """Return when the oldest was received, as it says; None where there is none, or none says when."""
    # RFC 3339 in UTC with six decimals, as we write it: text order is time order.
    return min((said for delivery in held if (said := _received(delivery))), default=None)


def seconds_since(moment: str | None) -> float:
    """Return the seconds since a moment as messages say it; 0.0 for None, and for what isn't a moment."""
    if moment is None:
        return 0.0
    try:
        return max(0.0, (envelope.now() - datetime.fromisoformat(moment)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _received(delivery: IncomingMessage) -> str | None:
    try:
        said = delivery.properties.headers.get("received-at")
    except ValueError:
        return None
    return said if isinstance(said, str) else None
