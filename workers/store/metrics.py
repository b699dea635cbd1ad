"""Prometheus metrics of the store worker."""

from prometheus_client import Counter, Gauge, Histogram

from telemetry.exemplars import Traced

STORED = Counter("crossdock_versions", "Versions stored", ("type",))
QUARANTINED = Counter("crossdock_quarantined", "Messages put into quarantine", ("platform", "account", "event"))
HELD = Gauge("crossdock_quarantine_messages", "Messages that wait in quarantine for a person", ("stage",))
HELD_OLDEST = Gauge(
    "crossdock_quarantine_oldest_seconds", "Since the oldest message that waits in quarantine was received", ("stage",)
)
LAG = Traced(
    Histogram(
        "crossdock_store_lag_seconds",
        "From when the oldest message of a batch was received to its batch being stored and announced",
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800),
    )
)
UNANNOUNCED = Counter("crossdock_unannounced", "Stored events that RabbitMQ can't take, whatever is tried")
CLOCK_AHEAD = Gauge(
    "crossdock_clock_ahead_seconds",
    "How far the newest message's time is ahead of the database's clock; 0 if it is not",
)
_ACCOUNT = ("platform", "account")
QUIET = Gauge("crossdock_account_quiet_seconds", "Since an account's last webhook", _ACCOUNT)
USUAL = Gauge("crossdock_account_usual_seconds", "Between its webhooks, while they come", _ACCOUNT)
LIMIT = Gauge("crossdock_account_quiet_limit_seconds", "The silence from which on it is unusual for it", _ACCOUNT)
