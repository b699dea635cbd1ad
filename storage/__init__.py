"""PostgreSQL: connections, numbered migrations, and every query in `queries/*.sql`.

Nothing here knows RabbitMQ or HTTP; what to store is decided by the callers.
Begin with `database.py`, which says when the database counts as unavailable.
"""
