"""Prometheus metrics of the queues, as counted by the broker.

Every process that measures exports the same values, so take the maximum.
"""

from prometheus_client import Gauge

MESSAGES = Gauge("crossdock_queue_messages", "Messages that wait in a queue and no consumer holds", ("queue",))
CONSUMERS = Gauge("crossdock_queue_consumers", "Consumers of a queue", ("queue",))
