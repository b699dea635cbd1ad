"""Connections to PostgreSQL, single or pooled, directly or through a pooler such as PgBouncer.

A pooler in session mode assigns one server connection to a client for as long as the client stays connected. The only
difference is that PgBouncer refuses start-up parameters that it does not know; these are set by a statement instead. A
pooler in transaction mode may change the server connection between two transactions, which breaks prepared statements,
LISTEN and advisory locks, so it is refused. So is one in statement mode, which allows no transactions at all.

A connection may take a role (`storage.roles`). It then has that role's privileges and no others, even if its user is
the owner of the tables. A pooler in session mode resets the role before it assigns the server connection anew.
"""

from contextlib import suppress
from typing import Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

COMMAND_TIMEOUT = 30.0
"""Maximum seconds for one statement; a batch takes a few hundredths of a second."""
CONNECT_TIMEOUT = 5.0
STATEMENTS = 200
"""Prepared statements kept per connection: more than exist, so that none is prepared twice."""

SETTINGS = {
    # JIT compilation pays off for long queries only. Ours are short, but estimates over many partitions make them look
    # long.
    "jit": "off",
    # The server cancels a statement a little after we do, in case our cancellation did not reach it.
    "statement_timeout": f"{COMMAND_TIMEOUT + 5:.0f}s",
    "idle_in_transaction_session_timeout": "60s",
}
_SET = "".join(f"; SET {name} = '{value}'" for name, value in SETTINGS.items())

PROBES = 3
"""Number of attempts to be assigned another client's server connection by a pooler."""
PROBE_TIMEOUT = 2.0
"""Maximum seconds for one attempt.

In transaction mode a server connection is free as soon as its transaction has ended, so a longer wait means a session
pool whose connections are all in use.
"""


_TAKE_ROLE = """
SELECT set_config('role', rolname, false)
FROM pg_roles
JOIN pg_namespace ON nspname = 'crossdock' AND has_schema_privilege(pg_roles.oid, pg_namespace.oid, 'USAGE')
WHERE rolname = '{role}'
  AND CASE WHEN current_setting('server_version_num')::int >= 160000 THEN pg_has_role(session_user, pg_roles.oid, 'SET')
           ELSE pg_has_role(session_user, pg_roles.oid, 'MEMBER') END
"""
"""Takes a role if it has its privileges in this database and the user may take it.

Otherwise the user's own privileges stay in effect: those of a user that has inherited the role's, or of the owner in a
database without roles. PostgreSQL 16 distinguishes memberships that allow SET ROLE from others.
"""

STATEMENT_MODE = "statement pooling mode"
"""Part of PgBouncer's error for `BEGIN` in statement mode, after which it closes the connection."""


class UnsupportedPoolerError(asyncpg.InterfaceError):
    """DATABASE_URL leads through a pooler that breaks prepared statements, LISTEN and advisory locks.

    Commands exit with this error. Workers treat the database as unavailable and continue once the pooler's mode has
    been corrected.
    """

    def __init__(self) -> None:
        super().__init__(
            "PostgreSQL is reached through a pooler that changes servers between transactions: set pool_mode = session "
            "for this database in PgBouncer, or name the server itself in DATABASE_URL"
        )


class PooledConnection(asyncpg.Connection):
    """A connection through a pooler that refused our settings as start-up parameters.

    Each reset applies the settings again.
    """

    __slots__ = ()

    def get_reset_query(self) -> str:
        return f"{super().get_reset_query().rstrip().rstrip(';')}{_SET}"


class _RoleTaker:
    """Lets the connections of a pool take a role, once it is known that no pooler shares them among clients."""

    def __init__(self, role: str | None) -> None:
        self._role = role
        self._is_allowed = False

    async def connect(self, dsn: str | None = None, **options: Any) -> asyncpg.Connection:
        """Open a connection, which takes the role unless it is the first one of its pool."""
        connection = await _connect(dsn, **options)
        try:
            if self._is_allowed:
                await _take_role(connection, self._role)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def begin(self, connection: asyncpg.pool.PoolConnectionProxy) -> None:
        """Let the first connection, and all later ones, take the role."""
        self._is_allowed = True
        await _take_role(connection, self._role)


async def create_pool(
    url: str, *, size: int, name: str = "crossdock", role: str | None = None, is_verified: bool = False
) -> asyncpg.Pool:
    """Create a pool on the server that accepts writes.

    `url` may name several hosts, among which a promoted server is found. `role`: taken by every connection whose user
    may take it. `is_verified`: another pool has shown that no pooler shares connections. jsonb is passed as text in
    both directions (asyncpg's default), and Python never parses it. Raises UnsupportedPoolerError, and OSError or
    asyncpg's errors if no server can be reached.
    """
    taker = _RoleTaker(role)
    pool: asyncpg.Pool = await asyncpg.create_pool(
        url,
        connect=taker.connect,
        min_size=1,
        max_size=size,
        timeout=CONNECT_TIMEOUT,
        command_timeout=COMMAND_TIMEOUT,
        target_session_attrs=SessionAttribute.read_write,
        statement_cache_size=STATEMENTS,
        max_cached_statement_lifetime=0,
        server_settings={"application_name": name, "timezone": "UTC", **SETTINGS},
        reset=_keep_session,
    )
    try:
        async with pool.acquire() as connection:
            if not is_verified:
                await _refuse_transaction_mode(url, connection)
            await taker.begin(connection)
    except BaseException:
        pool.terminate()
        raise
    return pool


async def _keep_session(connection: asyncpg.Connection) -> None:
    """Reset nothing when a connection returns to its pool, except an open transaction, which asyncpg has rolled back.

    What asyncpg would reset takes a statement per use: settings, advisory locks and LISTEN. Users of a pool set none of
    them beyond a transaction; whoever takes an advisory lock of the session releases it (`storage.maintenance`).
    """


async def connect(
    url: str,
    *,
    name: str = "crossdock",
    timeout: float = CONNECT_TIMEOUT,
    writes: bool = True,
    role: str | None = None,
) -> asyncpg.Connection:
    """Open one connection without a time limit for statements; `timeout` is the seconds for opening it.

    `writes`: connect to the server that accepts writes. `role`: taken if the user may take it. Raises
    UnsupportedPoolerError, OSError and asyncpg's errors.
    """
    connection = await _connect(
        url,
        timeout=timeout,
        target_session_attrs=SessionAttribute.read_write if writes else SessionAttribute.any,
        server_settings={"application_name": name, "timezone": "UTC"},
    )
    try:
        await _refuse_transaction_mode(url, connection)
        await _take_role(connection, role)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _connect(dsn: str | None = None, **options: Any) -> asyncpg.Connection:
    server_settings: dict[str, str] = options.pop("server_settings")
    try:
        return await asyncpg.connect(dsn, server_settings=server_settings, **options)
    except asyncpg.ProtocolViolationError as error:
        if "startup parameter" not in str(error) or not SETTINGS.keys() <= server_settings.keys():
            raise
    except (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError):
        # We have prepared nothing yet, so the statement is another client's.
        raise UnsupportedPoolerError from None
    known = {key: value for key, value in server_settings.items() if key not in SETTINGS}
    options["connection_class"] = PooledConnection
    connection: asyncpg.Connection = await asyncpg.connect(dsn, server_settings=known, **options)
    try:
        await connection.execute(_SET.removeprefix("; "))
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _refuse_transaction_mode(url: str, connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy) -> None:
    """Raise UnsupportedPoolerError if another client can be assigned this connection's server process.

    PostgreSQL tells each client at the start which process serves it, while PgBouncer sends a number of its own. If
    that number is the process that answers a query, there is no pooler; this check takes one short query.
    """
    try:
        if await _server_process(connection) == connection.get_server_pid():
            return
        other = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT, statement_cache_size=0)
        try:
            for _ in range(PROBES):
                if await _server_process(connection) == await _server_process(other):
                    raise UnsupportedPoolerError
        finally:
            with suppress(Exception):
                await other.close(timeout=1)
    except (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError):
        raise UnsupportedPoolerError from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if STATEMENT_MODE in str(error):
            raise UnsupportedPoolerError from None
        raise
    except TimeoutError:
        return


async def _server_process(connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy) -> int:
    async with connection.transaction():
        process_id: int = await connection.fetchval("SELECT pg_backend_pid()", timeout=PROBE_TIMEOUT)
    return process_id


async def _take_role(connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy, role: str | None) -> None:
    """Take a role until the connection is closed; no reset of the pool ends it, because RESET ALL excludes the role."""
    if role is not None:
        await connection.execute(_TAKE_ROLE.format(role=role))
