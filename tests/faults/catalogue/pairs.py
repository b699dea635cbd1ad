"""Two faults at once: what one safeguard leaves to the other."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.faults.backing import signal_all
from tests.faults.catalogue import connections, processes, servers
from tests.faults.site import BROKER, DATABASE, SUBSCRIBERS, Site
from tests.faults.trial import Fault
from tests.support.pipeline import until

IN_HAND = 20
"""Posts made after the first fault and before the second, so that there is something in hand to be lost."""


async def _busy(site: Site) -> None:
    start = len(site.ledger.posts)
    await until(lambda: len(site.ledger.posts) >= start + IN_HAND, what="posts to be made")


@asynccontextmanager
async def both_servers_killed(site: Site) -> AsyncIterator[None]:
    """As when the machine they share loses its power."""
    async with servers.database_killed(site), servers.broker_killed(site):
        yield


@asynccontextmanager
async def everything_killed(site: Site) -> AsyncIterator[None]:
    """SIGKILL to every process of ours and to both servers at one blow, as when the machine loses its power; then all
    of it is started again on what it left behind."""
    postgres, rabbitmq = servers.single(site).postgres, servers.single(site).rabbitmq
    before = {process.name: process.pid for process in site.all}
    for process in site.all:
        process.send(signal.SIGKILL)
    signal_all(postgres.pid, signal.SIGKILL)
    os.kill(rabbitmq.pid, signal.SIGKILL)
    await asyncio.gather(postgres.restart(), rabbitmq.restart())
    for process in site.all:
        await process.replaced(before[process.name])
    yield


@asynccontextmanager
async def _then(
    site: Site, first: AbstractAsyncContextManager[None], second: AbstractAsyncContextManager[None]
) -> AsyncIterator[None]:
    async with first:
        await _busy(site)
        async with second:
            yield


def store_killed_in_a_stall(site: Site) -> AbstractAsyncContextManager[None]:
    """Store is killed with batches in hand that the database doesn't take."""
    return _then(site, connections.stalled(site.proxies["store", DATABASE]), processes.killed(site, "store"))


def broker_killed_in_a_stall(site: Site) -> AbstractAsyncContextManager[None]:
    """RabbitMQ is killed with publishes of the ingress on their way to it."""
    return _then(site, connections.stalled(site.proxies["ingress", BROKER]), servers.broker_killed(site))


def deliver_killed_in_a_stall(site: Site) -> AbstractAsyncContextManager[None]:
    """Deliver is killed while subscribers are not to be reached."""
    return _then(site, connections.stalled(site.proxies["deliver", SUBSCRIBERS]), processes.killed(site, "deliver"))


def store_killed_after_commit(site: Site) -> AbstractAsyncContextManager[None]:
    """COMMIT was done, its answer got lost, and store was killed before it could ask again."""
    lost = connections.answers_lost(site.proxies["store", DATABASE], connections.COMMIT)
    return _then(site, lost, processes.killed(site, "store"))


FAULTS = (
    Fault("RabbitMQ and PostgreSQL killed", both_servers_killed, servers.DOWN),
    Fault("everything killed at once and started again", everything_killed, 0.0),
    Fault("store killed while PostgreSQL stalls", store_killed_in_a_stall, 2.0),
    Fault("RabbitMQ killed while the ingress stalls", broker_killed_in_a_stall, 2.0),
    Fault("deliver killed while subscribers stall", deliver_killed_in_a_stall, 2.0),
    Fault("COMMIT's answer lost and store killed", store_killed_after_commit, 1.0),
)
