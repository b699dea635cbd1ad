"""The parts of the pipeline together, over real sockets, with a real RabbitMQ and a real PostgreSQL.

What needs neither server belongs to `tests.unit`; whole servers are killed in `tests.faults`.
Begin with `test_pipeline`: one webhook of each kind, from the request to the row, the queue and the subscriber.
"""
