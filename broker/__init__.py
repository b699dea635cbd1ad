"""RabbitMQ: connections that recover, publishing in bursts, consuming in batches, direct replies, topology.

Nothing here knows a platform or the database, and nothing acks by itself.
Begin with `connection.py`, then `publisher.py` and `consumer.py`.
"""
