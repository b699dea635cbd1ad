"""Listening sockets on an address, a name or several of them; `::` covers both address families."""

import asyncio
import socket
from collections.abc import Callable, Sequence

ANY_IPV6, ANY_IPV4 = "::", "0.0.0.0"  # noqa: S104 - compared, and bound where the operator says so

Address = tuple[str, int] | tuple[str, int, int, int]
"""What `getaddrinfo` returns for IPv4 and IPv6: host, port, and for IPv6 the flow information and the scope."""


async def listen(
    make: Callable[[], asyncio.Protocol], hosts: str | Sequence[str], port: int, *, backlog: int, shared: bool = False
) -> list[asyncio.Server]:
    """Listen on one port of every host, and serve each connection with a protocol that `make` returns.

    `::` accepts IPv4 connections too; on a machine without IPv6 it means `0.0.0.0`. Port 0 chooses a free one, the same
    for all hosts. `shared`: other processes listen on the port too. Raises OSError.
    """
    loop = asyncio.get_running_loop()
    servers: list[asyncio.Server] = []
    bound: list[socket.socket] = []
    try:
        for family, address in await _addresses(hosts, port):
            bound.append(_bind(family, (address[0], port, *address[2:]), shared=shared))
            port = bound[-1].getsockname()[1]
        for listener in bound:
            server = await loop.create_server(make, sock=listener, backlog=backlog)
            servers.append(server)
    except BaseException:
        for server in servers:
            server.close()
        for listener in bound:
            listener.close()
        raise
    return servers


async def _addresses(hosts: str | Sequence[str], port: int) -> list[tuple[socket.AddressFamily, Address]]:
    """Return the addresses of all hosts, each once."""
    names = [hosts] if isinstance(hosts, str) else list(hosts)
    names = [ANY_IPV6 if name.strip("[]") == ANY_IPV6 else name for name in names]
    if ANY_IPV6 in names:
        if _has_ipv6():
            names = [name for name in names if name != ANY_IPV4]  # `::` includes it
        else:
            names = [ANY_IPV4 if name == ANY_IPV6 else name for name in names]
    loop = asyncio.get_running_loop()
    resolved: dict[tuple[socket.AddressFamily, Address], None] = {}
    for name in names:
        for family, _, _, _, address in await loop.getaddrinfo(
            name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            resolved[family, address] = None  # type: ignore[index]  # a bytes address is of another family
    return list(resolved)


def _bind(family: socket.AddressFamily, address: tuple[object, ...], *, shared: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared and hasattr(socket, "SO_REUSEPORT"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != ANY_IPV6))
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind((ANY_IPV6, 0))
    except OSError:
        return False
    return True
