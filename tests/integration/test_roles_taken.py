"""How roles are made, and how processes take them: as members, as owners, behind poolers, and where there are none."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from deploy.cli import check
from deploy.local.postgres import Postgres, binaries
from storage import migrate, roles
from storage import pool as pools
from storage.migrate import Migration
from tests.support import delivering, pipeline
from tests.support.pipeline import until
from tests.support.shell import ROOT, Shell
from workers.store.worker import StoreWorker

WHO = "SELECT current_user::text"
PARTS = """
SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END AS kind, oid::regclass::text AS name
FROM pg_class WHERE relnamespace = 'crossdock'::regnamespace AND relkind IN ('r', 'p', 'v', 'c')
UNION ALL
SELECT 'FUNCTION', oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'crossdock'::regnamespace
"""
"""Everything in the schema that has an owner of its own."""


def with_login(url: str, login: str, database: str | None = None) -> str:
    """The URL of another user, whose password is its name."""
    rest = url.rpartition("@")[2]
    where = rest if database is None else f"{rest.partition('/')[0]}/{database}"
    return f"postgresql://{login}:{login}@{where}"


class Logins:
    """Users of the server, which are gone afterwards."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._names: list[str] = []

    async def make(self, options: str = "") -> str:
        name = f"login_{uuid4().hex}"
        await self._connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}' {options}")
        self._names.append(name)
        return name

    async def close(self) -> None:
        for name in self._names:
            await self._connection.execute(f"DROP OWNED BY {name} CASCADE")
            await self._connection.execute(f"DROP ROLE {name}")


@pytest_asyncio.fixture
async def logins(database: asyncpg.Connection) -> AsyncIterator[Logins]:
    factory = Logins(database)
    yield factory
    await factory.close()


async def test_every_connection_of_a_pool_keeps_its_role(database_url: str) -> None:
    pool = await pools.create_pool(database_url, size=3, role=roles.STORE)
    try:
        for _ in range(2):  # before and after the reset of a release
            held = [await pool.acquire() for _ in range(3)]
            assert {await acquired.fetchval(WHO) for acquired in held} == {roles.STORE}
            for acquired in held:
                await pool.release(acquired)
        await pool.expire_connections()
        assert await pool.fetchval(WHO) == roles.STORE
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute("SELECT sealed FROM crossdock.subscribed")
    finally:
        await pool.close()
    connection = await pools.connect(database_url, role=roles.DELIVER)
    assert await connection.fetchval(WHO) == roles.DELIVER
    await connection.close()


async def who(url: str, role: str | None) -> str:
    connection = await pools.connect(url, role=role)
    try:
        return str(await connection.fetchval(WHO))
    finally:
        await connection.close()


async def test_a_process_takes_its_role_if_its_user_is_a_member(
    database_url: str, database: asyncpg.Connection, logins: Logins
) -> None:
    member = await logins.make(f"IN ROLE {roles.STORE}")
    assert await who(with_login(database_url, member), roles.STORE) == roles.STORE
    stranger = await logins.make()
    assert await who(with_login(database_url, stranger), roles.STORE) == stranger
    assert await who(with_login(database_url, member), roles.POLL) == member  # another process's role
    inherits = await logins.make()
    await database.execute(f"GRANT {roles.STORE} TO {inherits} WITH SET FALSE")
    assert await who(with_login(database_url, inherits), roles.STORE) == inherits
    connection = await asyncpg.connect(with_login(database_url, inherits))
    await connection.execute("SELECT FROM crossdock.receipts")
    await connection.close()
    assert await who(database_url, None) == "postgres"  # a command


async def test_a_role_without_privileges_in_this_database_is_not_taken(
    database_url: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles belong to the server: another database's migration may have made them."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert (await check._postgresql(None)).problems == []
    await database.execute(f"REVOKE USAGE ON SCHEMA crossdock FROM {roles.STORE}")
    assert await who(database_url, roles.STORE) == "postgres"
    (problem,) = (await check._postgresql(None)).problems
    assert problem.startswith("roles lack 1 of their privileges, such as `GRANT USAGE ON SCHEMA crossdock TO crossdock")
    await migrate.migrate(database_url)
    assert await who(database_url, roles.STORE) == roles.STORE


async def test_workers_run_as_members_of_their_roles_alone(
    amqp_url: str, database_url: str, database: asyncpg.Connection, logins: Logins
) -> None:
    store = with_login(database_url, await logins.make(f"IN ROLE {roles.STORE}"))
    deliver = with_login(database_url, await logins.make(f"IN ROLE {roles.DELIVER}"))
    async with (
        pipeline.running(pipeline.store(amqp_url, store), delivering.worker(deliver)),
        pipeline.door(amqp_url) as door,
    ):
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200

        async def stored() -> bool:
            return bool(await database.fetchval("SELECT count(*) = 1 FROM crossdock.events"))

        await until(stored, what="the receipt is stored")


async def test_a_worker_without_privileges_reports_permission_denied(
    amqp_url: str, database_url: str, logins: Logins
) -> None:
    worker = StoreWorker(
        pipeline.config(), amqp_url=amqp_url, database_url=with_login(database_url, await logins.make())
    )
    await worker.start()
    try:
        await until(lambda: any("permission denied" in problem for problem in worker.problems()))
    finally:
        await worker.stop()


async def test_objects_of_an_administrators_migration_belong_to_the_owner(
    database_url: str, database: asyncpg.Connection, logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user of an earlier release owns the tables, and has to be able to use new ones."""
    owner, files = await logins.make(), migrate.files()
    fresh = [Migration(f"019{n}_new", f"CREATE TABLE crossdock.fresh{n} ()") for n in range(2)]
    monkeypatch.setattr(migrate, "files", lambda: [*files, fresh[0]])
    await database.execute(f"ALTER SCHEMA crossdock OWNER TO {owner}")
    assert await migrate.migrate(database_url) == ["0190_new"]
    assert await owner_of(database, "fresh0") == "postgres", "while an administrator owns a part, it goes on as before"
    for row in await database.fetch(PARTS):
        await database.execute(f"ALTER {row['kind']} {row['name']} OWNER TO {owner}")
    monkeypatch.setattr(migrate, "files", lambda: [*files, *fresh])
    assert await migrate.migrate(database_url) == ["0191_new"]
    assert await owner_of(database, "fresh1") == owner


async def test_a_user_that_may_not_grant_everything_grants_nothing(
    database_url: str, database: asyncpg.Connection, logins: Logins
) -> None:
    """An administrator owns one table; everything goes on with the privileges that there are."""
    owner = await logins.make()
    await database.execute(f"GRANT CREATE ON DATABASE {database_url.rpartition('/')[2]} TO {owner}")
    await database.execute(f"ALTER SCHEMA crossdock OWNER TO {owner}")
    for row in await database.fetch(PARTS):
        await database.execute(f"ALTER {row['kind']} {row['name']} OWNER TO {owner}")
    await database.execute("ALTER TABLE crossdock.consumers OWNER TO postgres")
    await database.execute(f"REVOKE SELECT ON crossdock.consumers, crossdock.documents FROM {roles.STORE}")  # noqa: S608
    assert await migrate.migrate(with_login(database_url, owner)) == []
    assert {privilege.object for privilege in await roles.missing(database)} == {
        "crossdock.consumers",
        "crossdock.documents",
    }
    await migrate.migrate(database_url)
    assert await roles.missing(database) == []


async def owner_of(database: asyncpg.Connection, table: str) -> str:
    query = "SELECT relowner::regrole::text FROM pg_class WHERE oid = $1::text::regclass"
    return str(await database.fetchval(query, f"crossdock.{table}"))


async def test_a_repeated_migration_grants_nothing(database_url: str, database: asyncpg.Connection) -> None:
    """Nor does it fail at what a later release has removed."""
    before = await database.fetch("SELECT oid, xmin::text FROM pg_class WHERE relnamespace = 'crossdock'::regnamespace")
    await migrate.migrate(database_url)
    after = await database.fetch("SELECT oid, xmin::text FROM pg_class WHERE relnamespace = 'crossdock'::regnamespace")
    assert after == before
    await database.execute(
        "DROP TABLE crossdock.poll_limits; ALTER TABLE crossdock.subscribed DROP COLUMN schedule CASCADE"
    )
    await migrate.migrate(database_url)


async def psql(url: str, script: str, **env: str) -> None:
    """Run a script as a database administrator would."""
    program = binaries() / "psql"
    process = await asyncio.create_subprocess_exec(
        str(program), "-v", "ON_ERROR_STOP=1", "-q", url,
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"], **env},
    )  # fmt: skip
    _, err = await process.communicate(script.encode())
    assert process.returncode == 0, err.decode()


async def test_where_the_user_may_not_create_roles_an_administrator_does_it_later(
    servers: Path, tmp_path: Path
) -> None:
    """On a server that has none of the roles yet."""
    server = Postgres(servers / "without-roles", durable=False)
    await server.start()
    try:
        admin = await asyncpg.connect(server.url)
        await admin.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        for name, options in (("orders", "OWNER plain"), ("first", ""), ("second", "")):
            await admin.execute(f"CREATE DATABASE {name} {options}")
        url = with_login(server.url, "plain", "orders")
        shell = Shell(tmp_path, DATABASE_URL=url)
        result = await shell("migrate")
        assert result.code == 0, result.err
        (line,) = [line for line in result.out.splitlines() if "not made" in line]
        assert all(role in line for role in roles.ALL)
        assert "`crossdock roles`" in line
        assert await who(url, roles.STORE) == "plain"  # everything goes on as before

        # Databases of one server share the roles: two migrations at once make them once.
        others = [f"{server.url.rpartition('/')[0]}/{name}" for name in ("first", "second")]
        await asyncio.gather(*(migrate.migrate(other) for other in others))
        for other in others:
            assert await who(other, roles.STORE) == roles.STORE
        assert await who(url, roles.STORE) == "plain"

        script = (await shell("roles")).out
        for _ in range(2):
            await psql(f"{server.url.rpartition('/')[0]}/orders", script)
        owner = await asyncpg.connect(url)
        assert await roles.missing(owner) == []
        assert await roles.absent(owner) == []
        await owner.close()
        await admin.execute("GRANT crossdock_store TO plain")
        assert await who(url, roles.STORE) == roles.STORE
        await admin.close()

        # The users of docker-compose.yml; the operators' may use its commands.
        kinds = ("store", "deliver", "api", "poll", "console")
        passwords = {f"{kind.upper()}_PASSWORD": f"crossdock_{kind}_login" for kind in kinds}
        for _ in range(2):
            await psql(others[0], (ROOT / "deploy/docker/logins.sql").read_text(), **passwords)
        for kind in kinds:
            role = f"crossdock_{kind}"
            assert await who(with_login(others[0], f"{role}_login"), role) == role
        operator = Shell(tmp_path, DATABASE_URL=with_login(others[0], "crossdock_console_login"))
        assert (await operator("deliveries", "list")).code == 0
        poller = Shell(tmp_path, DATABASE_URL=with_login(others[0], "crossdock_poll_login"))
        refused = await poller("replay", "--subscription", str(uuid4()), "--from", "2026-11-01")
        assert refused.err.startswith(
            "crossdock: PostgreSQL refuses: permission denied for table subscribed; `crossdock "
        )
    finally:
        await server.stop()
