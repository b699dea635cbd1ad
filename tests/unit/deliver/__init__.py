"""Single attempts: the client's connection, what answers mean, retries, limits and secrets.

Deliveries with a database are tested in `tests.integration.deliver`.
Begin with `test_sender`, and `servers` for what answers it.
"""
