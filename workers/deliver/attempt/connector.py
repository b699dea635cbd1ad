"""Opens connections to subscribers' servers, each checked by the guard, and keeps reusable ones for a short time."""

import asyncio
import errno
import functools
import socket
import ssl

import aiohappyeyeballs

from schemas.destinations.guard import Guard
from schemas.destinations.urls import Target
from workers.deliver.attempt.connection import Connection
from workers.deliver.attempt.resolver import Info, Lookup, Resolver
from workers.deliver.attempt.response import NoAnswerError

KEEPALIVE = 4.0
"""Seconds for which an idle connection is kept.

Node.js, uvicorn and Apache keep theirs for 5 seconds. With less, the server rarely closes a connection just when the
next POST is sent.
"""
NEXT_ADDRESS = 0.25
"""Seconds to wait for a connection before the next address of the host is tried in parallel (RFC 8305)."""

Origin = tuple[str, str, int]


class BlockedAddressError(OSError):
    """The guard refused a resolved address.

    The text does not contain the address, because subscribers must not learn how our internal names resolve.
    """

    def __init__(self) -> None:
        # The text must always be the same: aiohappyeyeballs re-raises the first error only if all errors read alike.
        super().__init__(errno.EACCES, "the host's address is not a public one")


class UnknownHostError(Exception):
    """The name of the host could not be resolved."""


class HandshakeError(Exception):
    """The connection was closed during the TLS handshake."""


@functools.cache
def tls() -> ssl.SSLContext:
    """Return the TLS context of all connections, which trusts the certificate authorities of the system."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connector:
    """Opens and keeps connections, without a limit on their number.

    Connections that hang at one subscriber must never make another one wait, and several subscribers may share a host.
    The dispatcher that starts the attempts enforces the limit of its subscription.
    """

    def __init__(self, guard: Guard, look_up: Lookup = socket.getaddrinfo) -> None:
        """Create a connector, within a running event loop; `look_up` has the signature of `socket.getaddrinfo`."""
        self._loop = asyncio.get_running_loop()
        self._guard = guard
        self._resolver = Resolver(look_up)
        self._tls = tls()
        self._kept: dict[Origin, list[Connection]] = {}
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def kept(self, target: Target) -> Connection | None:
        """Return a kept connection to the target, or None; the server may have closed it unnoticed."""
        kept = self._kept.get(target.origin)
        now = self._loop.time()
        while kept:
            connection = kept.pop()
            if not connection.has_expired(now):
                return connection
            self._drop(connection)
        return None

    async def connect(self, target: Target, owner: str = "") -> Connection:
        """Open a new connection; the name look-up counts towards the share of `owner` (see Resolver).

        Raises UnknownHostError, OSError (BlockedAddressError if the guard refuses the address), ssl.SSLError and
        HandshakeError, or NoAnswerError if the connector is closed.
        """
        if self._closed:
            raise NoAnswerError
        sock = await aiohappyeyeballs.start_connection(
            await self._addresses(target, owner),
            happy_eyeballs_delay=NEXT_ADDRESS,
            interleave=1,
            loop=self._loop,
            socket_factory=self._socket,
        )
        secure = target.scheme == "https"
        try:
            _, connection = await self._loop.create_connection(
                Connection,
                sock=sock,
                ssl=self._tls if secure else None,
                server_hostname=target.host.rstrip(".") if secure else None,
            )
        except (ConnectionResetError, ConnectionAbortedError) as error:
            # The TCP connection is established by now, so the reset happened during the handshake.
            sock.close()
            raise HandshakeError if secure else error from None
        except BaseException:
            sock.close()
            raise
        self._register(connection)
        return connection

    def give_back(self, target: Target, connection: Connection) -> None:
        """Return a connection after its request ended; it is kept if it is idle, and closed otherwise."""
        if not connection.is_idle or self._closed:
            self._drop(connection)
            return
        connection.expires_at = self._loop.time() + KEEPALIVE
        kept = self._kept.get(target.origin)
        if kept is None:
            kept = self._kept[target.origin] = []
        kept.append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(KEEPALIVE / 4, self._close_expired)

    def close(self) -> None:
        """Close all connections at once; requests under way fail."""
        self._closed = True
        self._resolver.close()
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in self._open:
            connection.close()
        self._open.clear()
        self._kept.clear()

    def _register(self, connection: Connection) -> None:
        if self._closed:  # in the meantime
            connection.close()
            raise NoAnswerError
        self._open.add(connection)

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.close()

    def _close_expired(self) -> None:
        now = self._loop.time()
        for origin, kept in list(self._kept.items()):
            expired = {connection for connection in kept if connection.has_expired(now)}
            for connection in expired:
                self._drop(connection)
            kept[:] = [connection for connection in kept if connection not in expired]
            if not kept:
                del self._kept[origin]
        self._sweep = self._loop.call_later(KEEPALIVE / 4, self._close_expired) if self._kept else None

    async def _addresses(self, target: Target, owner: str) -> list[Info]:
        if target.address:
            family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
            return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (target.host, target.port))]
        try:
            return list(await self._resolver.resolve(target.host, target.port, owner))
        except (OSError, UnicodeError):
            raise UnknownHostError from None

    def _socket(self, info: Info) -> socket.socket:
        """Create the socket for a resolved address; raise BlockedAddressError if the guard refuses the address.

        Only here are all final addresses known. A name may resolve differently after any earlier check.
        """
        family, kind, protocol, _, address = info
        if not self._guard.allowed(str(address[0])):
            raise BlockedAddressError
        return socket.socket(family, kind, protocol)
