"""A RabbitMQ cluster of three nodes, and the faults of a node."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.local.children import end, free_ports
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import Cluster, RabbitMQ, node_name, start_epmd
from tests.faults.site import Site
from tests.faults.trial import Fault

NODES = 3


class Clustered:
    """Three nodes under one `AMQP_URL`, one PostgreSQL."""

    def __init__(self, folder: Path) -> None:
        self._home = folder / "home"
        self._home.mkdir()
        folders = [folder / f"rabbitmq-{n + 1}" for n in range(NODES)]
        for node in folders:
            node.mkdir()
        self._cluster = Cluster(tuple(map(node_name, folders)), self._home, free_ports(1)[0])
        self.nodes = [RabbitMQ(folder, cluster=self._cluster) for folder in folders]
        self.postgres = Postgres(folder / "postgres")
        self._epmd = start_epmd(
            self._cluster.mapper_port, {"PATH": os.environ["PATH"], "HOME": str(self._home)}, self._home / "epmd.log"
        )
        self.amqp_url = ""
        self.database_url = ""

    async def start(self) -> None:
        await asyncio.gather(self.postgres.start(), *(node.start() for node in self.nodes))
        # Quorum queues get a member on each node that runs when they are declared.
        await _complete(self.nodes[0])
        hosts = ",".join(node.url.rpartition("@")[2].rstrip("/") for node in self.nodes)
        self.amqp_url = f"{self.nodes[0].url.rpartition('@')[0]}@{hosts}/"
        self.database_url = self.postgres.url

    async def stop(self) -> None:
        await asyncio.gather(self.postgres.stop(), *(node.stop() for node in self.nodes))
        await end(self._epmd, signal.SIGTERM, 2)


async def _complete(node: RabbitMQ) -> None:
    """Wait until the node sees all nodes. It accepts connections shortly before it counts as started, hence both."""
    await node.control("await_startup")
    await node.control("await_online_nodes", str(NODES))


def _nodes(site: Site) -> list[RabbitMQ]:
    assert isinstance(site.backing, Clustered)
    return site.backing.nodes


@asynccontextmanager
async def first_killed(site: Site) -> AsyncIterator[None]:
    """SIGKILL to the node where the queues were declared, which has their leaders; it is restarted at the end."""
    node = _nodes(site)[0]
    os.kill(node.pid, signal.SIGKILL)
    try:
        yield
    finally:
        await node.restart()


@asynccontextmanager
async def one_cut_off(site: Site) -> AsyncIterator[None]:
    """SIGSTOP to a node: it sends nothing to the other nodes and its clients; SIGCONT at the end."""
    node = _nodes(site)[1]
    os.kill(node.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(node.pid, signal.SIGCONT)


@asynccontextmanager
async def each_restarted(site: Site) -> AsyncIterator[None]:
    """Restart one node after the other, as for an upgrade."""
    for node in _nodes(site):
        await node.restart()
        await _complete(node)
    yield


FAULTS = (
    Fault("cluster: first node killed and brought back", first_killed, 6.0),
    Fault("cluster: a node cut off and back", one_cut_off, 12.0),
    Fault("cluster: each node restarted in turn", each_restarted, 0.0),
)
