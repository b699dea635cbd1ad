"""Names to addresses, each lookup in a thread of its own.

`loop.getaddrinfo` shares a few threads among all lookups: on uvloop (libuv) two at a time, on asyncio's own loop a
handful. A subscriber whose name server hangs would hold them for the resolver's whole patience (10 s and more), and
nobody else's name would be looked up meanwhile. Daemon threads, because a hanging `getaddrinfo` can't be interrupted
and must not hold up the process's end.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from workers.deliver.shares import FairLimit

Info = tuple[int, int, int, str, tuple[Any, ...]]
"""As from `socket.getaddrinfo`."""
Lookup = Callable[..., Sequence[Info]]

LOOKUPS = 256
"""At once, shared fairly by subscriber: hanging names of one subscriber leave half of them to all others. One name is
asked for once, however many wait for it; and a thread that waits costs some 50 kB."""
CACHE = 10.0
"""Seconds that a name's addresses are kept. Not for safety (each connect is checked, cached or not) but so that a burst
asks once; short, so that a subscriber's move is followed."""
NAMES_KEPT = 10_000


class Resolver:
    """`resolve` raises OSError where a name is unknown."""

    def __init__(self, look_up: Lookup = socket.getaddrinfo) -> None:
        """`look_up`: as `socket.getaddrinfo`; called in a thread."""
        self._look_up = look_up
        self._slots = FairLimit(LOOKUPS)
        self._known: dict[tuple[str, int], tuple[float, Sequence[Info]]] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[Sequence[Info]]] = {}

    async def resolve(self, host: str, port: int, owner: str = "") -> Sequence[Info]:
        """Return all addresses of `host`, in the system's order. `owner`: whose share of the look-ups it takes."""
        key = host, port
        until, infos = self._known.get(key, (0.0, ()))
        loop = asyncio.get_running_loop()
        if loop.time() < until:
            return infos
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = loop.create_task(self._ask(host, port, owner), name="lookup")
            asking.add_done_callback(lambda task: self._asked(key, task))
        # Who gives up waiting does not end it for the others.
        return await asyncio.shield(asking)

    def close(self) -> None:
        """Nobody waits any more; threads end by themselves."""
        for task in self._asking.values():
            task.cancel()

    def _asked(self, key: tuple[str, int], task: asyncio.Task[Sequence[Info]]) -> None:
        del self._asking[key]
        if not task.cancelled() and task.exception() is None:
            if len(self._known) >= NAMES_KEPT:
                self._known.clear()
            self._known[key] = (asyncio.get_running_loop().time() + CACHE, task.result())

    async def _ask(self, host: str, port: int, owner: str) -> Sequence[Info]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[Info]] = loop.create_future()

        def settle(infos: Sequence[Info], error: Exception | None) -> None:
            # Only now, not when the caller gives up: until here the thread is there.
            self._slots.release(owner)
            if answer.done():
                return
            if error is None:
                answer.set_result(infos)
            else:
                answer.set_exception(error)

        def ask() -> None:
            infos: Sequence[Info] = ()
            failure: Exception | None = None
            try:
                infos = self._look_up(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
            except Exception as error:
                failure = error
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                loop.call_soon_threadsafe(settle, infos, failure)

        while not self._slots.try_take(owner):
            free = asyncio.Event()
            self._slots.when_free(owner, free, free.set)
            try:
                await free.wait()
            finally:
                self._slots.forget(owner, free)
        try:
            threading.Thread(target=ask, name="lookup", daemon=True).start()
        except RuntimeError:
            self._slots.release(owner)
            raise OSError("no thread for the lookup") from None
        return await answer
