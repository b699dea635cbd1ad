"""The connection pool."""

import asyncpg
from asyncpg.connect_utils import SessionAttribute

COMMAND_TIMEOUT = 30.0
"""Seconds for one statement; a batch takes a few hundredths of one."""
CONNECT_TIMEOUT = 5.0
STATEMENTS = 200
"""Prepared statements kept per connection: more than there are, so that none is prepared twice."""

SETTINGS = {
    "timezone": "UTC",
    # Compiling pays for long queries; ours are short, and estimates over many partitions look long.
    "jit": "off",
    # The server gives up a little after we did, also when our cancelling didn't reach it.
    "statement_timeout": f"{COMMAND_TIMEOUT + 5:.0f}s",
    "idle_in_transaction_session_timeout": "60s",
}


async def create_pool(url: str, *, size: int, name: str = "crossdock") -> asyncpg.Pool:
    """A pool on the server that takes writes: `url` may name several hosts, of which a promoted one is found.

    jsonb goes in and out as text (asyncpg's default): Python never parses it. Raises OSError or asyncpg's errors when
    no server can be reached.
    """
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        timeout=CONNECT_TIMEOUT,
        command_timeout=COMMAND_TIMEOUT,
        target_session_attrs=SessionAttribute.read_write,
        statement_cache_size=STATEMENTS,
        max_cached_statement_lifetime=0,
        server_settings={"application_name": name, **SETTINGS},
    )
