"""Prometheus metrics of the store worker."""

from prometheus_client import Counter, Gauge

STORED = Counter("crossdock_versions", "Versions stored", ("type",))
QUARANTINED = Counter("crossdock_quarantined", "Messages put into quarantine", ("platform", "account", "event"))
BACKLOG = Gauge("crossdock_consumer_backlog_messages", "Messages that wait in a consumer's queue", ("consumer",))
_ACCOUNT = ("platform", "account")
QUIET = Gauge("crossdock_account_quiet_seconds", "Since an account's last webhook", _ACCOUNT)
USUAL = Gauge("crossdock_account_usual_seconds", "Between its webhooks, while they come", _ACCOUNT)
LIMIT = Gauge("crossdock_account_quiet_limit_seconds", "The silence from which on it is unusual for it", _ACCOUNT)
