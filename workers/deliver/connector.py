"""The connector that lets the guard judge every address that is really connected to."""

import errno
import socket

import aiohttp
from aiohttp.abc import AbstractResolver

from schemas.destinations.guard import Guard
from workers.deliver.resolver import Resolver

CACHE = 10
"""Seconds that a name's addresses are kept. Not for safety (each connect is checked, cached or not) but so that a burst
asks once, and so that hanging lookups of one name share one thread; short, so that a subscriber's move is followed."""
KEEPALIVE = 4.0
"""Seconds an idle connection is kept: less than the 5 that Node, uvicorn and Apache keep theirs, so that it is seldom
closed by the other side just when the next POST goes out."""


class BlockedAddress(OSError):
    """The guard refused a final address. Says nothing of it: what our own names mean is not for subscribers."""

    def __init__(self) -> None:
        # The same text each time: of several errors that read alike, aiohappyeyeballs raises the first as it is.
        super().__init__(errno.EACCES, "the host's address is not a public one")


def guarded(guard: Guard, *, resolver: AbstractResolver | None = None) -> aiohttp.TCPConnector:
    """A connector whose connects raise ClientConnectorError with a BlockedAddress where `guard` forbids the address.

    Sockets are the one place that sees all final addresses: aiohttp asks no resolver about an address in a URL, and
    what a resolver answers may change between a check and the connect. Needs a running loop.
    """

    def make_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not guard.allowed(str(address[0])):
            raise BlockedAddress
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(
        resolver=resolver or Resolver(),
        use_dns_cache=True,
        ttl_dns_cache=CACHE,
        keepalive_timeout=KEEPALIVE,
        # No limits here: connections that hang at one subscriber must never be the ones another waits for, and several
        # may share a host. How many a subscription may have is enforced by who starts its attempts.
        limit=0,
        limit_per_host=0,
        socket_factory=make_socket,
    )
