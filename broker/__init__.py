"""RabbitMQ over AMQP 0-9-1: connections that are restored, burst publishing, batch consumption, replies, topology.

aio-pika opens connections, declares, and moves what commands move. Where time per message counts, messages are
published in bursts and consumed in batches on the aiormq channels below it.

No business rule and no database: messages are bytes here, and the names of queues come from `schemas.topology`.
Begin with `connection.BrokerConnection`, then `publisher.Publisher` and `consumer.Consumer`; `frames` is the fast path
below them.
"""
