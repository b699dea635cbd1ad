"""DATABASE_URL and AMQP_URL as providers and environment files hand them out, and what is said of wrong ones."""

import asyncio
import logging
from collections.abc import Callable

import aiormq
import pytest
from yarl import URL

from broker.connection import BrokerConnection
from deploy.cli.errors import CommandError, explain
from deploy.cli.servers import check_amqp_url, check_database_url
from storage import dsn
from tests.support.pipeline import until
from tests.support.shell import Shell

BASE = "postgresql://u:p%40@h:5432,i:5433/db"


@pytest.mark.parametrize(
    ("query", "cleaned"),
    [
        ("?ssl=true", "?sslmode=require"),
        ("?ssl=True&application_name=x", "?sslmode=require&application_name=x"),
        ("?ssl=1", "?sslmode=require"),
        ("?ssl=require", "?sslmode=require"),
        ("?ssl=verify-full", "?sslmode=verify-full"),
        ("?ssl=no-verify", "?sslmode=require"),
        ("?ssl=false", "?sslmode=disable"),
        ("?ssl=true&sslmode=verify-full", "?sslmode=verify-full"),
        ("?sslmode=Require", "?sslmode=require"),
        ("?sslmode=VERIFY_FULL", "?sslmode=verify-full"),
        ("?sslmode=no-verify", "?sslmode=require"),
        ("?sslmode=prefer", "?sslmode=prefer"),
        ("?SSLMode=require", "?sslmode=require"),
        ("?sslmode=require ", "?sslmode=require"),
    ],
)
def test_tls_can_be_requested_in_several_notations(query: str, cleaned: str) -> None:
    assert dsn.clean(BASE + query) == BASE + cleaned


@pytest.mark.parametrize("query", ["?ssl=maybe", "?sslmode=on-please", "?sslmode=", "?ssl="])
def test_a_value_that_is_not_known_is_answered_with_those_that_are(query: str) -> None:
    with pytest.raises(
        ValueError, match="write sslmode=disable, allow, prefer, require, verify-ca or verify-full"
    ) as error:
        dsn.clean("postgresql://u:hush@h/db" + query)
    assert "hush" not in str(error.value)


CHECKS: list[tuple[Callable[[str], str], str, str]] = [
    (check_database_url, "DATABASE_URL", "postgresql://"),
    (check_amqp_url, "AMQP_URL", "amqp://"),
]


@pytest.mark.parametrize(("check", "name", "scheme"), CHECKS)
@pytest.mark.parametrize(
    "password", ["hu#sh", "hu/sh", "hu?sh", "12/34hush", "#hush", "hu[sh", "hu]sh", "h/u@sh", "hu sh"]
)
def test_a_password_with_special_characters_gets_advice(
    check: Callable[[str], str], name: str, scheme: str, password: str
) -> None:
    with pytest.raises(CommandError) as error:
        check(f"{scheme}user:{password}@host:1234/name")
    assert str(error.value).startswith(f"{name} can't be read: write {scheme}user:password@host")
    assert "with special characters of the user name and password percent-encoded" in str(error.value)
    assert not any(part in str(error.value) for part in ("hu", "sh:", "1234"))


@pytest.mark.parametrize(("check", "name", "scheme"), CHECKS)
@pytest.mark.parametrize(("before", "after"), [("", " "), (" ", "\n"), ("\ufeff", "\u200b"), ("\t", "\r\n")])
def test_blanks_at_the_ends_are_not_part_of_a_url(
    check: Callable[[str], str], name: str, scheme: str, before: str, after: str
) -> None:
    url = f"{scheme}user:p%23@host:1234/name"
    assert check(f"{before}{url}{after}") == url


@pytest.mark.parametrize(("check", "name", "scheme"), CHECKS)
@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_are_named(check: Callable[[str], str], name: str, scheme: str, quote: str) -> None:
    with pytest.raises(CommandError, match=f"{name} stands in quotes"):
        check(f"{quote}{scheme}user:hush@host:1234/name{quote}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/db?application_name=a@b",
        "postgresql://u:p@h:5432,[::1]:5433/db?application_name=a@b",
        "postgresql://[::1]:5432,h/db?application_name=a@b",
        "postgresql:///db?host=/var/run/postgresql",
        "postgresql://%2Fvar%2Frun/db",
        "postgresql://u@/db?host=/tmp",
        "postgres://h",
    ],
)
def test_valid_urls_are_unchanged(url: str) -> None:
    assert check_database_url(url) == url


VHOST = "the virtual host in AMQP_URL does not exist, this user may not use it, or its connection limit is reached"


@pytest.mark.parametrize("vhost", ["no-such-vhost", "crossdock%20", "a%2Fb"])
async def test_an_unknown_virtual_host_is_named_as_such(amqp_url: str, vhost: str) -> None:
    url = str(URL(amqp_url).with_path(f"/{vhost}", encoded=True))
    with pytest.raises(aiormq.exceptions.AMQPError) as error:
        await aiormq.connect(url)
    line = explain(error.value)
    assert line is not None
    assert VHOST in line
    assert "0x" not in line


async def test_check_and_workers_name_an_unknown_virtual_host(
    amqp_url: str, shell: Shell, caplog: pytest.LogCaptureFixture
) -> None:
    url = str(URL(amqp_url).with_path("/no-such-vhost"))
    shell.env["AMQP_URL"] = url
    for command in (("check",), ("topology", "check"), ("topology", "apply")):
        code, out, err = await shell(*command)
        assert code != 0
        text = " ".join((out + err).split())
        assert VHOST in text
        assert "object at 0x" not in text
    caplog.set_level(logging.WARNING, "crossdock.broker")

    async def never(*_: object) -> None:
        raise AssertionError

    connection = BrokerConnection(url, name="test", on_open=never)
    connection.start()
    try:
        async with asyncio.timeout(10):
            await until(lambda: VHOST in connection.error)
    finally:
        await connection.stop()
    assert "0x" not in connection.error


async def test_a_trailing_blank_of_amqp_url_is_not_part_of_the_virtual_host(amqp_url: str, shell: Shell) -> None:
    shell.env["AMQP_URL"] = f"{amqp_url} "
    code, out, err = await shell("topology", "apply")
    assert code == 0, out + err
