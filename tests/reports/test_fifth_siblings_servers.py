"""Siblings of reported inputs: URLs of servers, and what a pooler that is too small answers."""

from collections.abc import Callable
from contextlib import suppress

import asyncpg
import pytest

from broker.management import Management, ManagementError
from deploy.cli.errors import CommandError, explain
from deploy.cli.servers import check_amqp_url, check_database_url
from storage import database
from tests.reports import test_poolers
from tests.reports.test_linear import linear

pgbouncer = test_poolers.pgbouncer

CHECKS: list[tuple[Callable[[str], str], str, str]] = [
    (check_amqp_url, "AMQP_URL", "amqp"),
    (check_database_url, "DATABASE_URL", "postgresql"),
]


@pytest.mark.parametrize(("check", "name", "scheme"), CHECKS)
@pytest.mark.parametrize(
    ("url", "corrected"),
    [
        ("S://u:hush@h1:5672/,S://u:hush@h2:5672/", "S://user:password@h1:5672,h2:5672/"),
        ("S://u:hush@h1:5672//;S://u:hush@h2:5672//", "S://user:password@h1:5672,h2:5672//"),
        ("S://u:hush@h1/v, S://u:hush@h2/v", "S://user:password@h1,h2/v"),
        ("S://u:hush@h1:5672 S://u:hush@h2:5672/v", "S://user:password@h1:5672,h2:5672/v"),
        ("S://u:hush@h1:5672/v\nS://u:hush@h2:5672/v\n", "S://user:password@h1:5672,h2:5672/v"),
        ("S://u:hush@[::1]:5672,u:hush@[::2]:5672/v", "S://user:password@[::1]:5672,[::2]:5672/v"),
        ("['S://u:hush@h1', 'S://u:hush@h2']", "S://user:password@h1,h2"),
        ("S://h1:5672;S://h2:5672", "S://h1:5672,h2:5672"),
        ("S://u:hu@sh@h1/v,S://u:hush@h2/v", None),
        ("S://u:hu/sh@h1/v,S://u:hush@h2/v", None),
        ("S://u:12?hush@h1/v,S://u:hush@h2/v", None),
        ("S://u:12,S://hush@h1/v", None),
        ("S://u:hush@h1/v,S://u:hush@h2/hush", None),
        ("S://u:hush@h1:5672/v,h2:5672/v", None),
        ("S://u:hush@h1:5672;h2:5672/v", None),
        ("S://u:hush@h1:5672,,h2:5672/v", None),
    ],
)
def test_a_list_of_urls_is_answered_with_a_list_of_hosts(
    check: Callable[[str], str], name: str, scheme: str, url: str, corrected: str | None
) -> None:
    """Celery's lists of URLs in AMQP_URL were answered with advice on special characters of the password."""
    example = {
        "AMQP_URL": "amqp://user:password@host1:5672,host2:5672/vhost",
        "DATABASE_URL": "postgresql://user:password@host1:5432,host2:5432/database",
    }
    with pytest.raises(CommandError) as error:
        check(url.replace("S:", f"{scheme}:"))
    assert str(error.value) == (
        f"{name} names several servers: write scheme, user and password once, and the hosts with commas between them, "
        f"as in {example[name] if corrected is None else corrected.replace('S:', f'{scheme}:')}"
    )


@pytest.mark.parametrize(("check", "name", "scheme"), CHECKS)
def test_a_list_of_hosts_is_read_with_blanks_in_it(check: Callable[[str], str], name: str, scheme: str) -> None:
    """The driver looked for a host whose name begins with a blank."""
    assert check(f"{scheme}://u:a,b;c@h1:1, h2:2 ,[::3]:3/{name}") == f"{scheme}://u:a,b;c@h1:1,h2:2,[::3]:3/{name}"


@pytest.mark.parametrize("piece", [",", ", ", "u:@,", ",u:", "@", ";a://", ", amqp://u:p@h", "/,h:1", "[", " '"])
def test_urls_of_servers_are_read_in_linear_time(piece: str) -> None:
    """An environment may hold anything."""

    def read(url: str) -> None:
        with suppress(CommandError):
            check_amqp_url(url)

    linear(read, lambda size: "amqp://u:p@h" + piece * (size // len(piece)), 50_000)


@pytest.mark.parametrize(
    "url",
    ["http://u:p@a:1,http://u:hush@b:1", "http://u:p@a;http://u:hush@b", "http://a,http://u:hush@b", "http://a,b"],
)
def test_the_management_api_has_one_url(url: str) -> None:
    """A second URL, with its password, was taken for a path that errors show."""
    with pytest.raises(ManagementError, match="write http://user:password@host:15672") as error:
        Management(url)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("connection was closed in the middle of operation: query_wait_timeout", "default_pool_size of PgBouncer"),
        ("MaxClientsInSessionMode: max clients reached", "pool size of another pooler"),
        ("no more connections allowed (max_client_conn)", "raise max_client_conn"),
        ("client_idle_timeout", "client_idle_timeout = 0"),
        ("sorry, too many clients already", "max_connections of PostgreSQL"),
        ("remaining connection slots are reserved for roles with the SUPERUSER attribute", "max_connections of Post"),
        ('too many connections for role "x"', "raise this limit"),
        ("no such database: x", "section [databases]"),
    ],
)
def test_errors_of_poolers_name_the_setting(text: str, setting: str) -> None:
    """`up` and workers showed "ConnectionDoesNotExistError 08003: … query_wait_timeout" of too small a pool."""
    error = asyncpg.ConnectionDoesNotExistError(text)
    for line in (database.explain(error), str(explain(error))):
        assert f"{text}: " in line
        assert setting in line
    assert database.explain(asyncpg.PostgresError("broken")) == "PostgresError: broken"


@pytest.mark.skipif(test_poolers.PROGRAM is None, reason="PgBouncer is not installed")
async def test_a_pool_that_is_too_small_is_named(pgbouncer: test_poolers.Start, database_url: str) -> None:
    """The same with a pooler whose only server connection is another client's."""
    url = await pgbouncer(database_url, "session", "default_pool_size = 1\nquery_wait_timeout = 1")
    other = await asyncpg.connect(url, statement_cache_size=0)
    try:
        with pytest.raises(database.UNAVAILABLE_ERRORS) as error:
            await database.Database(url, size=1).pool()
        for line in (database.explain(error.value), str(explain(error.value))):
            assert "query_wait_timeout" in line
            assert "default_pool_size" in line
    finally:
        await other.close()
