"""Prometheus metrics of the store worker."""

from prometheus_client import Counter

STORED = Counter("crossdock_versions", "Versions stored", ("type",))
QUARANTINED = Counter("crossdock_quarantined", "Messages put into quarantine", ("platform", "account", "event"))
