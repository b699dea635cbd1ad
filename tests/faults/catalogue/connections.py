"""Connections between two parts that are cut, stalled, delayed or half-closed; answers lost after the work was done."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from tests.faults.proxy import Proxy
from tests.faults.site import BROKER, DATABASE, KINDS, SUBSCRIBERS, Site
from tests.faults.trial import Fault

PUBLISH = b"\x00\x3c\x00\x28"
"""AMQP 0-9-1: class 60, method 40, Basic.Publish."""
COMMIT = b"COMMIT;"
"""As asyncpg sends it."""
DELAY = 0.15
"""Seconds of delay in each direction."""
DONE = 0.7
"""Seconds for the server to do the work, before the connection that gets no answer ends."""

PAIRS = (
    *((kind, BROKER) for kind, settings in KINDS.items() if settings.broker),
    *((kind, DATABASE) for kind, settings in KINDS.items() if settings.database),
    ("deliver", SUBSCRIBERS),
)


@asynccontextmanager
async def cut(proxy: Proxy) -> AsyncIterator[None]:
    """Reset every connection, and each new one while the fault lasts."""
    proxy.refuse()
    try:
        yield
    finally:
        proxy.heal()


@asynccontextmanager
async def stalled(proxy: Proxy) -> AsyncIterator[None]:
    """Pass nothing on, which neither side notices; at the end the connections are reset, and what was sent is lost."""
    proxy.stall()
    try:
        yield
    finally:
        proxy.cut()
        proxy.heal()


@asynccontextmanager
async def delayed(proxy: Proxy) -> AsyncIterator[None]:
    """Delay everything in both directions."""
    proxy.delay(DELAY)
    try:
        yield
    finally:
        proxy.heal()


@asynccontextmanager
async def half_closed(proxy: Proxy) -> AsyncIterator[None]:
    """End the streams to the servers, of which the clients learn nothing."""
    proxy.half_close()
    yield


@asynccontextmanager
async def answers_lost(proxy: Proxy, marker: bytes) -> AsyncIterator[None]:
    """Let the server do its work, and lose the answer with the connection."""
    proxy.lose_answers_to(marker)
    try:
        async with asyncio.timeout(10):
            await proxy.lost.wait()
        await asyncio.sleep(DONE)
        yield
    finally:
        proxy.heal()


Break = Callable[[Proxy], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def between(site: Site, pair: tuple[str, str], way: Break) -> AsyncIterator[None]:
    """Break the connections of the pair in this way."""
    async with way(site.proxies[pair]):
        yield


WAYS: dict[str, Break] = {
    "cut": cut,
    "stalled": stalled,
    "delayed": delayed,
    "half-closed": half_closed,
}


def _lost(name: str, pair: tuple[str, str], marker: bytes) -> Fault:
    return Fault(name, partial(between, pair=pair, way=partial(answers_lost, marker=marker)), 0.5)


FAULTS = (
    *(
        Fault(f"{kind} – {server} {name}", partial(between, pair=(kind, server), way=way), 3.0)
        for kind, server in PAIRS
        for name, way in WAYS.items()
    ),
    _lost("confirms to the ingress lost", ("ingress", BROKER), PUBLISH),
    _lost("confirms to store lost", ("store", BROKER), PUBLISH),
    _lost("confirms to route lost", ("route", BROKER), PUBLISH),
    _lost("COMMIT's answer lost", ("store", DATABASE), COMMIT),
)
