"""Logins of the private PostgreSQL: one per kind of process, a member of that process's role and of no other."""

import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from storage import pool as pools
from storage import roles

ROLES: Mapping[str, str] = {
    "store": roles.STORE,
    "deliver": roles.DELIVER,
    "api": roles.API,
    "poll": roles.POLL,
    "console": roles.CONSOLE,
}
"""The role of each kind of process that uses the database."""


async def create(url: str) -> dict[str, str]:
    """Give each kind of process a login with a new password, and return its DATABASE_URL by the kind.

    `url`: of the server's administrator. The passwords are stored nowhere; the next start makes others. Raises
    asyncpg's errors.
    """
    urls: dict[str, str] = {}
    connection = await pools.connect(url, name="crossdock up")
    try:
        for kind, role in ROLES.items():
            login, password = f"{role}_login", secrets.token_hex(16)
            exists = await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", login)
            await connection.execute(f"{'ALTER' if exists else 'CREATE'} ROLE {login} LOGIN PASSWORD '{password}'")
            await connection.execute(f"GRANT {role} TO {login}")
            parts = urlsplit(url)
            urls[kind] = parts._replace(netloc=f"{login}:{password}@{parts.hostname}:{parts.port}").geturl()
    finally:
        await connection.close()
    return urls


async def notes(url: str) -> list[str]:
    """Return a note for the operator if a server that is not ours lacks roles. Raises asyncpg's errors."""
    connection = await pools.connect(url, name="crossdock up")
    try:
        absent = await roles.absent(connection)
    finally:
        await connection.close()
    if not absent:
        return []
    return [f"roles not made: {', '.join(absent)}; `crossdock roles` prints the SQL for a database administrator"]
