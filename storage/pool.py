"""The connection pool."""

import asyncpg
from asyncpg.connect_utils import SessionAttribute

COMMAND_TIMEOUT = 30.0
"""Seconds for one statement; a batch takes a few hundredths of one."""
CONNECT_TIMEOUT = 5.0


async def create_pool(url: str, *, size: int, name: str = "crossdock") -> asyncpg.Pool:
    """A pool on the server that takes writes: `url` may name several hosts, of which a promoted one is found.

    Raises OSError or asyncpg's errors when none can be reached.
    """
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        timeout=CONNECT_TIMEOUT,
        command_timeout=COMMAND_TIMEOUT,
        target_session_attrs=SessionAttribute.read_write,
        server_settings={"application_name": name, "timezone": "UTC"},
    )
