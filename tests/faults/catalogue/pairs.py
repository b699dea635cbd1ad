"""Two faults at once: where one safeguard relies on another."""

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

POSTS_BETWEEN = 20
"""Posts between the first fault and the second, so that something is in progress that could be lost."""


async def _busy(site: Site) -> None:
    start = len(site.ledger.posts)
    await until(lambda: len(site.ledger.posts) >= start + POSTS_BETWEEN, what="posts to be made")


@asynccontextmanager
async def both_servers_killed(site: Site) -> AsyncIterator[None]:
    """Kill both servers, as when the machine that they share loses its power."""
    async with servers.database_killed(site), servers.broker_killed(site):
        yield


@asynccontextmanager
async def everything_killed(site: Site) -> AsyncIterator[None]:
    """SIGKILL to all our processes and both servers at once, as when the machine loses its power; then all of them are
    started again on the data that are left."""
    postgres, rabbitmq = servers.single(site).postgres, servers.single(site).rabbitmq
    pids = {process.name: process.pid for process in site.all}
    for process in site.all:
        process.send(signal.SIGKILL)
    signal_all(postgres.pid, signal.SIGKILL)
    os.kill(rabbitmq.pid, signal.SIGKILL)
    await asyncio.gather(postgres.restart(), rabbitmq.restart())
    for process in site.all:
        await process.replaced(pids[process.name])
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
    """Kill the store worker while it has batches that the database does not answer."""
    return _then(site, connections.stalled(site.proxies["store", DATABASE]), processes.killed(site, "store"))


def broker_killed_in_a_stall(site: Site) -> AbstractAsyncContextManager[None]:
    """Kill RabbitMQ while publishes of the ingress are on their way to it."""
    return _then(site, connections.stalled(site.proxies["ingress", BROKER]), servers.broker_killed(site))


def deliver_killed_in_a_stall(site: Site) -> AbstractAsyncContextManager[None]:
    """Kill the deliver workers while subscribers are unreachable."""
    return _then(site, connections.stalled(site.proxies["deliver", SUBSCRIBERS]), processes.killed(site, "deliver"))


def store_killed_after_commit(site: Site) -> AbstractAsyncContextManager[None]:
    """Lose the answer of a COMMIT that was done, and kill the store worker before it can check."""
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
