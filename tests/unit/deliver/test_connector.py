"""The guard when connecting: names whose address changes, names with several addresses, and look-ups that hang."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from schemas.destinations.guard import Guard
from tests.unit.deliver.servers import REQUEST, SUCCESS, Names, raw, saying, sender
from workers.deliver.attempt import resolver as resolver_
from workers.deliver.attempt.connector import BlockedAddressError, Connector
from workers.deliver.attempt.resolver import Resolver

OK = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def test_a_name_that_turns_private_between_check_and_connect_is_blocked_and_nothing_connects() -> None:
    names = Names(["93.184.216.34"], ["127.0.0.1"])
    guard = Guard([], allow_http=True)
    async with raw(OK) as server, sender(allow_networks=[], look_up=names) as client:
        url = f"http://rebinding.example:{server.port}/hook"
        guard.check_url(url)
        assert all(guard.allowed(str(address[0])) for *_, address in names("rebinding.example", 80))
        answer = await client.send(url, REQUEST, success=SUCCESS)
        assert (answer.outcome, answer.status_code) == ("blocked", None)
        assert "127" not in (answer.error or "")
        assert names.hosts == ["rebinding.example"] * 2
        assert server.connections == 0


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["127.0.0.1", "::1"], ["::ffff:127.0.0.1"], ["::1", "10.0.0.1", "169.254.169.254"], ["no address"]],
)
async def test_names_with_private_addresses_only_are_blocked(addresses: list[str]) -> None:
    async with raw(OK) as server, sender(allow_networks=[], look_up=Names(addresses)) as client:
        answer = await client.send(f"http://a.example:{server.port}/", REQUEST, success=SUCCESS)
        assert answer.outcome == "blocked"
        assert server.connections == 0


@pytest.mark.parametrize("addresses", [["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "::1"], ["::1", "127.0.0.1"]])
async def test_a_name_is_reached_at_the_address_that_is_allowed(addresses: list[str]) -> None:
    async with raw(OK) as server, sender(look_up=Names(addresses)) as client:
        answer = await client.send(f"http://a.example:{server.port}/", REQUEST, success=SUCCESS)
        assert answer.outcome == "delivered"


async def test_an_address_in_a_url_is_checked_without_any_resolver() -> None:
    target = Guard(["127.0.0.0/8"], allow_http=True).target
    async with raw(OK) as server:
        connector = Connector(Guard([], allow_http=True))  # one that never saw the URL
        with pytest.raises(BlockedAddressError):
            await connector.connect(target(server.url()))
        connector.close()
        assert server.connections == 0


async def test_a_real_lookup_finds_this_machine() -> None:
    addresses = await Resolver().resolve("localhost", 80)
    assert {address[:2] for *_, address in addresses} <= {("127.0.0.1", 80), ("::1", 80)}
    assert addresses
    with pytest.raises(OSError, match=r"."):
        await Resolver().resolve("nowhere.invalid", 80)


async def test_hanging_lookups_of_one_owner_do_not_delay_others() -> None:
    release = threading.Event()

    def look_up(host: str, *args: Any) -> list[Any]:
        if host != "good":
            assert release.wait(60)
        return socket.getaddrinfo("127.0.0.1", *args)

    resolver = Resolver(look_up)
    hanging = [asyncio.create_task(resolver.resolve(f"bad{number}", 80)) for number in range(60)]
    try:
        assert [address for *_, address in await resolver.resolve("good", 80)] == [("127.0.0.1", 80)]
        assert not any(task.done() for task in hanging)
        hanging[0].cancel()
    finally:
        release.set()
    results = await asyncio.gather(*hanging, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert not any(isinstance(result, BaseException) for result in results[1:])


async def test_a_name_is_looked_up_once_for_all_and_again_when_the_result_is_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Names(["127.0.0.1"])
    resolver = Resolver(names)
    await asyncio.gather(*(resolver.resolve("a.example", 80) for _ in range(20)))
    await resolver.resolve("a.example", 80)
    assert names.hosts == ["a.example"]
    monkeypatch.setattr(resolver_, "CACHE", 0.0)
    old = Resolver(names)
    await old.resolve("a.example", 80)
    await old.resolve("a.example", 80)
    assert names.hosts == ["a.example"] * 3


async def test_a_failed_lookup_is_not_cached() -> None:
    def look_up(host: str, *args: Any) -> list[Any]:
        hosts.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "not now")

    hosts: list[str] = []
    resolver = Resolver(look_up)
    for count in (1, 2):
        with pytest.raises(OSError, match="not now"):
            await resolver.resolve("a.example", 80)
        assert len(hosts) == count
