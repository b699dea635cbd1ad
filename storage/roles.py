"""The roles of PostgreSQL, one per kind of process and one for people who query (contract §13).

They are group roles without a login: a login that is granted one has its privileges. `roles.sql` lists what each of
them may do. Roles belong to a whole server, so several databases on it share them, while privileges are granted in each
database.
"""

import asyncio
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import asyncpg

_FILE = Path(__file__).parent / "roles.sql"

READER = "crossdock_reader"
STORE = "crossdock_store"
DELIVER = "crossdock_deliver"
API = "crossdock_api"
CONSOLE = "crossdock_console"
POLL = "crossdock_poll"
ALL = (READER, STORE, DELIVER, API, CONSOLE, POLL)

ATTEMPTS = 5
"""Number of attempts to grant: PostgreSQL refuses one if somebody changes the same table's entry at the same moment."""
PAUSE = 0.2
"""Seconds between two attempts."""

_GRANT = re.compile(r"GRANT\s+(.+?)\s+ON\s+(?:(SCHEMA|FUNCTION)\s+)?(.+?)\s+TO\s+(\w+);", re.DOTALL)
_PRIVILEGE = re.compile(r"(\w+)(?:\s*\(([^)]*)\))?")

_MISSING = """
SELECT number
FROM unnest($1::int[], $2::name[], $3::text[], $4::text[], $5::text[], $6::text[])
     AS wanted (number, role, kind, object, privilege, attribute)
WHERE CASE
    WHEN kind = 'SCHEMA' THEN NOT has_schema_privilege(role, object, privilege)
    WHEN kind = 'FUNCTION' THEN
        CASE WHEN to_regprocedure(object) IS NOT NULL THEN NOT has_function_privilege(role, object, privilege) END
    WHEN to_regclass(object) IS NULL THEN false
    WHEN attribute = '' THEN NOT has_table_privilege(role, object, privilege)
    WHEN EXISTS (SELECT FROM pg_attribute
                 WHERE attrelid = to_regclass(object) AND attname = attribute AND NOT attisdropped)
        THEN NOT has_column_privilege(role, object, attribute, privilege)
END
ORDER BY number
"""
"""Query of the privileges in `roles.sql` that are missing, by number. Objects that do not exist are left out, because a
later release may have removed them."""
_NAMES = "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1::name[])"
_OWNER = """
SELECT quote_ident(pg_get_userbyid(nspowner))
FROM pg_namespace
WHERE nspname = 'crossdock' AND pg_get_userbyid(nspowner) <> current_user
  AND CASE WHEN current_setting('server_version_num')::int >= 160000 THEN pg_has_role(nspowner, 'SET')
           ELSE pg_has_role(nspowner, 'MEMBER') END
  AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_namespace.oid AND relowner <> nspowner)
  AND NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = pg_namespace.oid AND proowner <> nspowner)
"""
_CREATE = """\
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY '{{{names}}}'::text[] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        END IF;
    END LOOP;
END
$$;
"""
_LOGIN = """
-- A login of its own for each process, in whose DATABASE_URL it stands:
--   CREATE ROLE crossdock_store_login LOGIN PASSWORD '…' IN ROLE crossdock_store;
-- One login for all of them, which each process leaves for its role as soon as it is connected:
--   GRANT {names} TO …;
"""


class Privilege(NamedTuple):
    """A privilege of a role on a schema, a table, a view, a function, or a column."""

    role: str
    kind: str
    """`SCHEMA`, `FUNCTION`, or `TABLE`, which includes views."""
    object: str
    name: str
    column: str = ""

    @property
    def statement(self) -> str:
        """The statement that grants it."""
        columns = f" ({self.column})" if self.column else ""
        return f"GRANT {self.name}{columns} ON {self.kind} {self.object} TO {self.role}"


@cache
def privileges() -> tuple[Privilege, ...]:
    """Return every privilege that `roles.sql` lists, in its order."""
    text = re.sub(r"--.*", "", _FILE.read_text(encoding="utf-8"))
    return tuple(
        Privilege(role, kind or "TABLE", target, name, column.strip())
        for listed, kind, target, role in _GRANT.findall(text)
        for name, columns in _PRIVILEGE.findall(listed)
        for column in columns.split(",")
    )


def sql() -> str:
    """Return what a database administrator executes: it makes the roles, and grants what each of them needs.

    It may be repeated, and needs the tables that `crossdock migrate` creates.
    """
    create = _CREATE.format(names=",".join(ALL))
    return f"{create}\n{_FILE.read_text(encoding='utf-8')}{_LOGIN.format(names=', '.join(ALL[1:]))}"


async def create_missing(connection: asyncpg.Connection) -> None:
    """Make the roles that do not exist, as far as the user may. Raises asyncpg's other errors."""
    for role in await absent(connection):
        try:
            await connection.execute(f"CREATE ROLE {role} NOLOGIN")
        except asyncpg.InsufficientPrivilegeError:
            return
        except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            pass  # made at the same moment by the migration of another database on this server


async def become_owner(connection: asyncpg.Connection) -> None:
    """Act as the owner of the schema from now on, if the user may: what a migration creates then belongs to the owner.

    An administrator's migration would otherwise create tables that the user of an earlier release may not use. Does
    nothing if other users own a part of the schema, because the owner could not change that part.
    """
    owner = await connection.fetchval(_OWNER)
    if owner is not None:
        await connection.execute(f"SET ROLE {owner}")


async def grant_missing(connection: asyncpg.Connection) -> None:
    """Grant what `roles.sql` lists to the roles that exist, in one transaction; nothing if all of it is granted.

    Nothing either if the user may not grant all of it, because others own a part of the schema: a process whose role
    had only some of its privileges could not work. Raises asyncpg's other errors.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with connection.transaction():
                for privilege in await missing(connection):
                    await connection.execute(privilege.statement)
            return
        except asyncpg.InsufficientPrivilegeError:
            return
        except asyncpg.InternalServerError:  # "tuple concurrently updated"
            if attempt == ATTEMPTS:
                raise
        await asyncio.sleep(PAUSE)


async def missing(connection: asyncpg.Connection) -> list[Privilege]:
    """Return the privileges of `roles.sql` that are not in effect, for roles and objects that exist."""
    existing = {row["rolname"] for row in await connection.fetch(_NAMES, ALL)}
    listed = [(number, *privilege) for number, privilege in enumerate(privileges()) if privilege.role in existing]
    if not listed:
        return []
    rows = await connection.fetch(_MISSING, *(list(column) for column in zip(*listed, strict=True)))
    return [privileges()[row["number"]] for row in rows]


async def absent(connection: asyncpg.Connection) -> list[str]:
    """Return the roles that do not exist."""
    existing = {row["rolname"] for row in await connection.fetch(_NAMES, ALL)}
    return [role for role in ALL if role not in existing]
