"""Prometheus metrics of the poll worker, and the log line of a poll."""

import logging
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from schemas import envelope
from storage.polls import Place

if TYPE_CHECKING:
    from workers.poll.poller import PollCounts

log = logging.getLogger("crossdock.poll")

POLLS = Counter("crossdock_polls", "Polls that came to an end, by outcome", ("account", "outcome"))
ORDERS = Counter("crossdock_polled_orders", "Orders that were new or changed, and published", ("account",))
REQUESTS = Counter("crossdock_poll_requests", "Requests to polled APIs, by status or failure", ("kind", "status"))
SINCE = Gauge("crossdock_poll_seconds_since_success", "Since the account was last polled to the end", ("account",))


def record(counts: "PollCounts", platform: str, place: Place, outcome: str, error: str | None, seconds: float) -> None:
    """Count and log the end of one poll. `place` is where it started, `seconds` how long it took."""
    POLLS.labels(place.account, outcome).inc()
    ORDERS.labels(place.account).inc(counts.published)
    log.log(
        logging.INFO if outcome in ("ok", "stopped") else logging.WARNING,
        "polled",
        extra={
            "platform": platform,
            "account": place.account,
            "outcome": outcome,
            "error": error,
            "failures": 0 if outcome == "ok" else place.failures + (outcome in ("failed", "internal error")),
            "cursor": envelope.rfc3339(place.cursor),
            "pages": counts.pages,
            "orders": counts.orders,
            "published": counts.published,
            "unchanged": counts.unchanged,
            "skipped": counts.skipped,
            "too_large": counts.too_large,
            "undated": counts.undated,
            "ms": round(seconds * 1000, 2),
        },
    )
