"""Connections to where a URL points: each new one past the guard, and those that answered well kept for a while."""

import asyncio
import errno
import functools
import socket
import ssl

import aiohappyeyeballs

from schemas.destinations.guard import Guard
from schemas.destinations.urls import Target
from workers.deliver.attempt.connection import Connection, NoAnswer
from workers.deliver.attempt.resolver import Info, Lookup, Resolver

KEEPALIVE = 4.0
"""Seconds an idle connection is kept: less than the 5 that Node, uvicorn and Apache keep theirs, so that it is seldom
closed by the other side just when the next POST goes out."""
NEXT_ADDRESS = 0.25
"""Seconds until a name's next address is tried beside one that has not answered (RFC 8305)."""

Origin = tuple[str, str, int]


class BlockedAddress(OSError):
    """The guard refused a final address. Says nothing of it: what our own names mean is not for subscribers."""

    def __init__(self) -> None:
        # The same text each time: of several errors that read alike, aiohappyeyeballs raises the first as it is.
        super().__init__(errno.EACCES, "the host's address is not a public one")


class UnknownName(Exception):
    """No address was found for the host."""


class HandshakeBroken(Exception):
    """The connection was closed during the TLS handshake."""


@functools.cache
def tls() -> ssl.SSLContext:
    """Who we trust: the system's authorities."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connector:
    """No limits here: connections that hang at one subscriber must never be the ones another waits for, and several may
    share a host. How many a subscription may have is enforced by who starts its attempts."""

    def __init__(self, guard: Guard, look_up: Lookup = socket.getaddrinfo) -> None:
        """`look_up`: as `socket.getaddrinfo`. Needs a running loop."""
        self._guard = guard
        self._resolver = Resolver(look_up)
        self._tls = tls()
        self._kept: dict[Origin, list[Connection]] = {}
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def kept(self, target: Target) -> Connection | None:
        """One that was kept; the other side may have closed it without our knowing yet."""
        kept = self._kept.get(target.origin)
        now = asyncio.get_running_loop().time()
        while kept:
            connection = kept.pop()
            if connection.reusable and now - connection.kept_at < KEEPALIVE:
                return connection
            self._drop(connection)
        return None

    async def connect(self, target: Target, owner: str = "") -> Connection:
        """Open a new one for `owner` (see Resolver).

        Raises UnknownName, OSError (BlockedAddress), ssl.SSLError, HandshakeBroken.
        """
        if self._closed:
            raise NoAnswer
        loop = asyncio.get_running_loop()
        found = await aiohappyeyeballs.start_connection(
            await self._addresses(target, owner),
            happy_eyeballs_delay=NEXT_ADDRESS,
            interleave=1,
            loop=loop,
            socket_factory=self._socket,
        )
        secure = target.scheme == "https"
        try:
            _, connection = await loop.create_connection(
                Connection,
                sock=found,
                ssl=self._tls if secure else None,
                server_hostname=target.host.rstrip(".") if secure else None,
            )
        except (ConnectionResetError, ConnectionAbortedError) as error:
            # A port that was never accepted refuses, it does not reset: this came from the handshake.
            found.close()
            raise HandshakeBroken if secure else error from None
        except BaseException:
            found.close()
            raise
        self._admit(connection)
        return connection

    def give_back(self, target: Target, connection: Connection) -> None:
        """After its answer, or whatever came instead."""
        if not connection.reusable or self._closed:
            self._drop(connection)
            return
        loop = asyncio.get_running_loop()
        connection.kept_at = loop.time()
        kept = self._kept.get(target.origin)
        if kept is None:
            kept = self._kept[target.origin] = []
        kept.append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(KEEPALIVE / 4, self._sweep_up)

    def close(self) -> None:
        """Drops all connections. Requests under way fail."""
        self._closed = True
        self._resolver.close()
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in self._open:
            connection.close()
        self._open.clear()
        self._kept.clear()

    def _admit(self, connection: Connection) -> None:
        if self._closed:  # meanwhile
            connection.close()
            raise NoAnswer
        self._open.add(connection)

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.close()

    def _sweep_up(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - KEEPALIVE
        for origin, kept in list(self._kept.items()):
            for connection in kept:
                if connection.kept_at <= oldest:
                    self._drop(connection)
            kept[:] = [connection for connection in kept if connection.kept_at > oldest]
            if not kept:
                del self._kept[origin]
        self._sweep = loop.call_later(KEEPALIVE / 4, self._sweep_up) if self._kept else None

    async def _addresses(self, target: Target, owner: str) -> list[Info]:
        if target.address:
            family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
            return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (target.host, target.port))]
        try:
            return list(await self._resolver.resolve(target.host, target.port, owner))
        except (OSError, UnicodeError):
            raise UnknownName from None

    def _socket(self, info: Info) -> socket.socket:
        """Sockets are the one place that sees all final addresses: a resolver's answer may change after any check."""
        family, kind, protocol, _, address = info
        if not self._guard.allowed(str(address[0])):
            raise BlockedAddress
        return socket.socket(family, kind, protocol)
