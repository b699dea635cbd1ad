"""Prometheus metrics of the store worker."""

from prometheus_client import Counter, Gauge, Histogram

from telemetry.exemplars import Traced

STORED = Counter("crossdock_versions", "Versions stored", ("type",))
QUARANTINED = Counter("crossdock_quarantined", "Messages that were quarantined", ("platform", "account", "event"))
QUARANTINE_MESSAGES = Gauge(
    "crossdock_quarantine_messages", "Messages in quarantine that wait for a decision by a person", ("stage",)
)
QUARANTINE_OLDEST = Gauge(
    "crossdock_quarantine_oldest_seconds",
    "Seconds since the oldest message that waits in quarantine was received",
    ("stage",),
)
LAG = Traced(
    Histogram(
        "crossdock_store_lag_seconds",
        "Seconds from the receipt of a batch's oldest message until the batch is stored and announced",
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800),
    )
)
UNANNOUNCED = Counter("crossdock_unannounced", "Stored events that RabbitMQ does not accept in any form")
CLOCK_AHEAD = Gauge(
    "crossdock_clock_ahead_seconds",
    "Seconds by which the newest message's time is ahead of the database's clock; 0 if it is not",
)
TRANSFERS_LATE = Gauge(
    "crossdock_transfers_late", "Stock transfers that are past their due time with something outstanding", ("account",)
)
TRANSFERS_BEHIND = Gauge(
    "crossdock_transfers_behind_seconds", "Seconds by which the view `transfers` is behind the stored documents"
)
_ACCOUNT = ("platform", "account")
SILENCE = Gauge("crossdock_account_quiet_seconds", "Seconds since the account's last webhook", _ACCOUNT)
USUAL_INTERVAL = Gauge(
    "crossdock_account_usual_seconds", "Usual seconds between the account's webhooks during active periods", _ACCOUNT
)
SILENCE_LIMIT = Gauge(
    "crossdock_account_quiet_limit_seconds", "Seconds of silence beyond which it is unusual for the account", _ACCOUNT
)
