"""The guard at the connect: names that change their mind, names with several addresses, and lookups that hang."""

import asyncio
import socket
import threading
from typing import Any

import aiohttp
import pytest

from schemas.destinations.guard import Guard
from tests.unit.deliver.servers import REQUEST, SUCCESS, Names, raw, saying, sender
from workers.deliver import connector
from workers.deliver.connector import BlockedAddress
from workers.deliver.resolver import Resolver

OK = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def test_a_name_that_turns_private_between_check_and_connect_is_blocked_and_nothing_connects() -> None:
    names = Names(["93.184.216.34"], ["127.0.0.1"])
    guard = Guard([], allow_http=True)
    async with raw(OK) as server, sender(allow_networks=[], resolver=names) as made:
        url = f"http://rebinding.example:{server.port}/hook"
        guard.check_url(url)
        assert all(guard.allowed(found["host"]) for found in await names.resolve("rebinding.example"))
        answer = await made.send(url, REQUEST, success=SUCCESS)
        assert (answer.outcome, answer.status_code) == ("blocked", None)
        assert "127" not in (answer.error or "")
        assert names.asked == ["rebinding.example"] * 2
        assert server.connections == 0


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], ["127.0.0.1", "::1"], ["::ffff:127.0.0.1"], ["::1", "10.0.0.1", "169.254.169.254"], ["no address"]],
)
async def test_names_with_private_addresses_only_are_blocked(found: list[str]) -> None:
    async with raw(OK) as server, sender(allow_networks=[], resolver=Names(found)) as made:
        answer = await made.send(f"http://a.example:{server.port}/", REQUEST, success=SUCCESS)
        assert answer.outcome == "blocked"
        assert server.connections == 0


@pytest.mark.parametrize("found", [["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "::1"], ["::1", "127.0.0.1"]])
async def test_a_name_is_reached_at_the_address_that_is_allowed(found: list[str]) -> None:
    async with raw(OK) as server, sender(resolver=Names(found)) as made:
        answer = await made.send(f"http://a.example:{server.port}/", REQUEST, success=SUCCESS)
        assert answer.outcome == "delivered"


async def test_an_address_in_a_url_is_checked_without_any_resolver() -> None:
    async with raw(OK) as server, aiohttp.ClientSession(connector=connector.guarded(Guard([], False))) as session:
        with pytest.raises(aiohttp.ClientConnectorError) as failed:
            await session.post(server.url())
        assert isinstance(failed.value.os_error, BlockedAddress)
        assert isinstance(failed.value.os_error, OSError)
        assert server.connections == 0


async def test_a_real_lookup_finds_this_machine() -> None:
    found = await Resolver().resolve("localhost", 80, socket.AF_INET)
    assert {each["host"] for each in found} == {"127.0.0.1"}
    with pytest.raises(OSError, match=r"."):
        await Resolver().resolve("nowhere.invalid", 80)


async def test_hanging_lookups_delay_nobody_elses() -> None:
    release = threading.Event()

    def look_up(host: str, *args: Any) -> list[Any]:
        if host != "good":
            assert release.wait(60)
        return socket.getaddrinfo("127.0.0.1", *args)

    resolver = Resolver(look_up)
    hanging = [asyncio.create_task(resolver.resolve(f"bad{number}", 80)) for number in range(60)]
    try:
        assert [each["host"] for each in await resolver.resolve("good", 80)] == ["127.0.0.1"]
        assert not any(task.done() for task in hanging)
        hanging[0].cancel()
    finally:
        release.set()
    results = await asyncio.gather(*hanging, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert not any(isinstance(result, BaseException) for result in results[1:])


async def test_a_zone_is_kept_for_the_connect() -> None:
    def look_up(host: str, port: int, *args: Any) -> list[Any]:
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", port, 0, 3))]

    assert [each["host"] for each in await Resolver(look_up).resolve("a", 80)] == ["fe80::1%3"]
