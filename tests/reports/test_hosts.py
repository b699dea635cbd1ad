"""`host` of `[ingress]`, `[api]` and `[admin]`, however it is written."""

import asyncio
import errno
import socket
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from deploy import config
from deploy.admin import Admin
from deploy.config import ConfigError
from deploy.process import listen_problem
from ingress import sockets
from tests.support.api import OPERATOR, api
from tests.support.api import config as api_config

SECTIONS = ("ingress", "api", "admin")
HAS_IPV6 = sockets._has_ipv6()


def host_of(section: str, host: Any) -> Any:
    return getattr(config.parse({section: {"host": host}}, Path()), section).host


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[::]", "::"),
        ("*", "::"),
        (" 0.0.0.0 ", "0.0.0.0"),
        ("localhost", "localhost"),
        ("crossdock-ingress.internal", "crossdock-ingress.internal"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_brackets_blanks_and_stars_are_understood(section: str, written: str, meant: str) -> None:
    assert host_of(section, written) == meant


def test_every_host_of_a_list_is_accepted() -> None:
    assert host_of("ingress", ["[::1]", "127.0.0.1"]) == ["::1", "127.0.0.1"]
    assert config.parse({"ingress": {"host": "*"}}, Path()).ingress.hosts == ["::", "0.0.0.0"]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("http://127.0.0.1", "without the scheme"),
        ("127.0.0.1:8080", "`port` is a setting of its own"),
        ("[::1]:8080", "`port` is a setting of its own"),
        ("localhost:80", "`port` is a setting of its own"),
        ("10.0.0.0/8", "not a network"),
        ("", "is empty"),
        (" ", "is empty"),
        ("300.1.1.1", "neither an address nor a name"),
        ("127.0.0", "neither an address nor a name"),
        ("[::1", "neither an address nor a name"),
        ("my host", "neither an address nor a name"),
        ("::g", "neither an address nor a name"),
        ("10.0.0.1,10.0.0.2", "neither an address nor a name"),
    ],
)
def test_a_value_that_is_not_a_host_is_refused_with_its_key(section: str, written: str, advice: str) -> None:
    with pytest.raises(ConfigError) as error:
        host_of(section, written)
    assert str(error.value).startswith(f"{section}: host ")
    assert advice in str(error.value)


def test_an_invalid_host_in_a_list_is_refused() -> None:
    with pytest.raises(ConfigError, match="ingress: host 'http://a'"):
        host_of("ingress", ["127.0.0.1", "http://a"])


async def reached(port: int, host: str) -> bool:
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
async def test_the_api_and_the_admin_port_listen_on_both_families(database_url: str) -> None:
    admin = Admin("::", 0, list)
    await admin.start()
    try:
        port = int(admin.url.rpartition(":")[2])
        assert [await reached(port, host) for host in ("127.0.0.1", "::1")] == [True, True]
    finally:
        await admin.stop()
    settings = api_config()
    both = msgspec.structs.replace(settings, api=msgspec.structs.replace(settings.api, host="::"))
    async with api(database_url, both) as client:
        assert [await reached(client.app.port, host) for host in ("127.0.0.1", "::1")] == [True, True]
        assert (await client.ask("GET", "/v1/subscriptions", who=OPERATOR))[0] == 200


@pytest.mark.skipif(HAS_IPV6, reason="this machine has IPv6")
async def test_without_ipv6_they_listen_on_ipv4() -> None:
    admin = Admin("::", 0, list)
    await admin.start()
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{admin.url}/healthz") as response:
            assert response.status == 200
    finally:
        await admin.stop()


async def test_a_name_that_does_not_exist_is_not_a_taken_port() -> None:
    with pytest.raises(OSError, match=r"no-such-host\.invalid") as error:
        await sockets.bind("no-such-host.invalid", 0)
    problem = listen_problem(error.value)
    assert "no-such-host.invalid" in problem
    assert problem.endswith("correct `host`")
    assert "port" not in problem


async def test_a_taken_port_and_a_foreign_address_are_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=r"\[Errno") as error:
            await sockets.bind("127.0.0.1", port)
    assert (
        listen_problem(error.value) == f"can't listen on 127.0.0.1:{port}: Address already in use; choose another port"
    )
    with pytest.raises(OSError, match=r"\[Errno") as error:
        await sockets.bind("203.0.113.1", 8080)
    assert error.value.errno == errno.EADDRNOTAVAIL
    problem = listen_problem(error.value)
    assert problem.startswith("can't listen on 203.0.113.1:8080: ")
    assert problem.endswith("this machine does not have that address: correct `host`")
