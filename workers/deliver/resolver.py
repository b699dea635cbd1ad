"""Names to addresses, each lookup in a thread of its own.

`loop.getaddrinfo` shares a few threads among all lookups: on uvloop (libuv) two at a time, on asyncio's own loop a
handful. A subscriber whose name server hangs would hold them for the resolver's whole patience (10 s and more), and
nobody else's name would be looked up meanwhile. Daemon threads, because a hanging `getaddrinfo` can't be interrupted
and must not hold up the process's end.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

LOOKUPS = 256
"""At once. The connector asks once for a name, however many wait for it, so this many *names* must hang before another
one waits; and a thread that waits costs some 50 kB."""

_Infos = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]]


class Resolver(AbstractResolver):
    """What aiohttp's connector asks. Raises OSError where a name is unknown."""

    def __init__(self, look_up: Callable[..., Any] = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._slots = asyncio.Semaphore(LOOKUPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of `host`, in the system's order."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Infos] = loop.create_future()

        def settle(infos: _Infos, error: Exception | None) -> None:
            # Only now, not when the caller gives up: until here the thread is there.
            self._slots.release()
            if answer.done():
                return
            if error is None:
                answer.set_result(infos)
            else:
                answer.set_exception(error)

        def ask() -> None:
            infos: _Infos = []
            failure: Exception | None = None
            try:
                infos = self._look_up(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
            except Exception as error:
                failure = error
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                loop.call_soon_threadsafe(settle, infos, failure)

        await self._slots.acquire()
        try:
            threading.Thread(target=ask, name="lookup", daemon=True).start()
        except RuntimeError:
            self._slots.release()
            raise OSError("no thread for the lookup") from None
        return [_result(host, family, proto, address) for family, _, proto, _, address in await answer]

    async def close(self) -> None:
        """Nothing to close: threads end by themselves."""


def _result(host: str, family: int, proto: int, address: tuple[Any, ...]) -> ResolveResult:
    zone = f"%{address[3]}" if family == socket.AF_INET6 and len(address) > 3 and address[3] else ""
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(
        hostname=host, host=f"{address[0]}{zone}", port=address[1], family=family, proto=proto, flags=flags
    )
