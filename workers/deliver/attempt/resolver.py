"""Resolves host names to addresses, each look-up in a thread of its own.

`loop.getaddrinfo` shares a few threads among all look-ups: two at a time on uvloop (libuv), a handful on asyncio's own
loop. A subscriber whose name server hangs would occupy them until the system's resolver times out (10 s and more), and
no other name could be resolved in the meantime. The threads are daemon threads, because a hanging `getaddrinfo` cannot
be interrupted and must not delay the exit of the process.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from workers.deliver.shares import FairLimit

Info = tuple[int, int, int, str, tuple[object, ...]]
"""One entry of the result of `socket.getaddrinfo`."""
Lookup = Callable[..., Sequence[Info]]
"""A function with the signature of `socket.getaddrinfo`."""

LOOKUPS = 256
"""Maximum number of look-ups at a time, shared fairly among subscribers.

If the names of one subscriber hang, half of the look-ups remain for all others. A name is looked up only once, however
many attempts wait for it. A waiting thread costs about 50 kB.
"""
CACHE = 10.0
"""Seconds for which the addresses of a name are cached.

The cache makes a burst of attempts resolve the name once; it is short so that a subscriber's move is noticed. It has no
effect on safety, because the guard checks each connection, whether its address was cached or not.
"""
NAMES_KEPT = 10_000
"""Maximum number of names in the cache; it is emptied when full."""


class Resolver:
    """Resolves names with a cache, and with a share of the look-ups for each owner."""

    def __init__(self, look_up: Lookup = socket.getaddrinfo) -> None:
        """Create a resolver; `look_up` is called in a thread, with the signature of `socket.getaddrinfo`."""
        self._look_up = look_up
        self._slots = FairLimit(LOOKUPS)
        self._cache: dict[tuple[str, int], tuple[float, Sequence[Info]]] = {}
        self._lookups: dict[tuple[str, int], asyncio.Task[Sequence[Info]]] = {}

    async def resolve(self, host: str, port: int, owner: str = "") -> Sequence[Info]:
        """Return all addresses of `host`, in the order of the system.

        The look-up counts towards the share of `owner`. Raises OSError if the name cannot be resolved.
        """
        key = host, port
        until, infos = self._cache.get(key, (0.0, ()))
        loop = asyncio.get_running_loop()
        if loop.time() < until:
            return infos
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = loop.create_task(self._start_lookup(host, port, owner), name="lookup")
            lookup.add_done_callback(lambda task: self._on_result(key, task))
        # Shielded, so that the cancellation of one attempt does not end the look-up for the others.
        return await asyncio.shield(lookup)

    def close(self) -> None:
        """Cancel all pending look-ups; their threads end by themselves."""
        for task in self._lookups.values():
            task.cancel()

    def _on_result(self, key: tuple[str, int], task: asyncio.Task[Sequence[Info]]) -> None:
        del self._lookups[key]
        if not task.cancelled() and task.exception() is None:
            if len(self._cache) >= NAMES_KEPT:
                self._cache.clear()
            self._cache[key] = (asyncio.get_running_loop().time() + CACHE, task.result())

    async def _start_lookup(self, host: str, port: int, owner: str) -> Sequence[Info]:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Sequence[Info]] = loop.create_future()

        def settle(infos: Sequence[Info], error: Exception | None) -> None:
            # The slot is released here and not when the caller is cancelled, because the thread lives until now.
            self._slots.release(owner)
            if result.done():
                return
            if error is None:
                result.set_result(infos)
            else:
                result.set_exception(error)

        def run() -> None:
            infos: Sequence[Info] = ()
            failure: Exception | None = None
            try:
                infos = self._look_up(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
            except Exception as error:
                failure = error
            with suppress(RuntimeError):  # the event loop is closed, so nothing waits for the result
                loop.call_soon_threadsafe(settle, infos, failure)

        while not self._slots.try_take(owner):
            free = asyncio.Event()
            self._slots.when_free(owner, free, free.set)
            try:
                await free.wait()
            finally:
                self._slots.forget(owner, free)
        try:
            threading.Thread(target=run, name="lookup", daemon=True).start()
        except RuntimeError:
            self._slots.release(owner)
            raise OSError("no thread for the lookup") from None
        return await result
