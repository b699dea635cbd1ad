"""What to do about errors of PostgreSQL and of poolers whose texts name no setting of ours. Pure.

A pooler reports its own errors over PostgreSQL's protocol, and the driver may show them as lost connections.
"""

_POOL_TOO_SMALL = (
    "the pooler has too few connections to the server: set default_pool_size of PgBouncer (or the pool size of another "
    "pooler) to at least the sum of what all processes keep"
)
_TOO_MANY = "raise this limit, or let fewer processes run (`[store] connections` counts for each store worker)"
HINTS = {
    "query_wait_timeout": _POOL_TOO_SMALL,
    "MaxClientsInSessionMode": _POOL_TOO_SMALL,  # Supavisor
    "max_client_conn": "raise max_client_conn of PgBouncer",
    "max_db_connections": "raise max_db_connections of PgBouncer",
    "max_user_connections": "raise max_user_connections of PgBouncer",
    "client_idle_timeout": "set client_idle_timeout = 0 in PgBouncer, because connections wait for events",
    "server_login_retry": "PgBouncer can't log in to the server: see its log",
    "cannot connect to server": "the pooler can't reach the server: see its log",
    "no such database": "name a database of PgBouncer's section [databases] in DATABASE_URL",
    "too many clients already": f"max_connections of PostgreSQL is too small: {_TOO_MANY}",
    "connection slots are reserved": f"max_connections of PostgreSQL is too small: {_TOO_MANY}",
    "too many connections for": _TOO_MANY,
}
"""Hints by a part of the error's text."""


def with_hint(text: str) -> str:
    """Return an error's text on one line, followed by what to do about it where that is known."""
    hint = next((hint for part, hint in HINTS.items() if part in text), None)
    return text if hint is None else f"{text}: {hint}"
