"""PostgreSQL: connection pools, numbered migrations, and every query, by name, in `queries/*.sql`.

No decision about what is stored (`workers.store` makes it) and no broker; SQL in Python only for locks and settings.
Begin with `database` (what counts as unavailable), `sql.query`, and `migrations/0001_tables.sql` (the layout).
"""
