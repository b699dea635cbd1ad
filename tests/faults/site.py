"""Everything that is broken, and everyone who notices: servers, proxies, our processes, a load, those who listen."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec
from asyncpg.connect_utils import SessionAttribute

from broker import topology
from deploy.local.children import free_ports
from storage import migrate
from tests import pipeline
from tests.faults import listeners
from tests.faults.backing import Backing, Single
from tests.faults.ledger import Ledger
from tests.faults.listeners import Consumer, Subscribers
from tests.faults.load import Load
from tests.faults.process import Process
from tests.faults.proxy import Proxy
from tests.receiver import KEY

ROOT = Path(__file__).parents[2]
RATE = 40.0
"""Posts a second: enough that every moment of a fault meets some of each platform, little enough for two cores."""

CONFIG = """
[ingress]
port = {port}

[delivery]                       # quick enough that nobody waits for minutes, and so often that nothing is given up
timeout = 2.0
schedule = [{schedule}]
channelape_interval = 1.0
allow_networks = ["127.0.0.0/8"]
allow_http = true

[subscribers.demo]
username = "demo"
password = "demo"
accounts = ["*/*"]

[accounts.apicbase.acme]
secrets = ["faults-apicbase-secret"]

[accounts.channelape.rothys]
keys = [{{ name = "token", secret = "faults-channelape-secret" }}]

[accounts.ecomnow.shop]
authorizations = ["Basic c2hvcDpmYXVsdHM="]

[accounts.ustore.printshop]
secrets = ["faults-ustore-secret"]
manufacturers = [
  {{ id = "1", name = "Hanover Annex", country = "US", state = "MD", postal_code = "21076" }},
  {{ id = "2", name = "test2 Manufacturer", country = "US", state = "MD", postal_code = "21076" }},
]
rules = [{{ name = "half to each", split = {{ "1" = 50, "2" = 50 }} }}]
"""


class Kind(msgspec.Struct, frozen=True):
    """A kind of process: its command, how many there are, and which servers it speaks to."""

    args: tuple[str, ...]
    count: int = 1
    broker: bool = True
    database: bool = True


KINDS = {
    "ingress": Kind(("ingress",), database=False),
    "store": Kind(("worker", "store")),
    "route": Kind(("worker", "route"), database=False),
    "deliver": Kind(("worker", "deliver"), count=2, broker=False),
}
"""Two deliver workers, so that a lease has somebody to keep out."""
BROKER, DATABASE, SUBSCRIBERS = "rabbitmq", "postgres", "subscribers"


def settings(port: int, retries: int = 400) -> str:
    """The configuration file. `retries`: of a delivery, about a second apart."""
    return CONFIG.format(port=port, schedule=", ".join(["0", *(["1"] * retries)]))


class Site:
    """One pipeline under load. Take it from `site`."""

    def __init__(self, folder: Path, backing: Backing, rate: float, seed: int, mutant: str | None) -> None:
        self.folder = folder
        self.backing = backing
        self.ledger = Ledger()
        self.subscribers = Subscribers()
        self.proxies: dict[tuple[str, str], Proxy] = {}
        """By kind of process and server; for (deliver, subscribers) what stands before the subscribers."""
        self.processes: dict[str, list[Process]] = {}
        """By kind."""
        self.port = free_ports(1)[0]
        self.config_file = folder / "crossdock.toml"
        self.config_file.write_text(settings(self.port))
        config = pipeline.load(self.config_file)
        self.load = Load(f"http://127.0.0.1:{self.port}", config, self.ledger, rate=rate, seed=seed)
        self.consumer = Consumer("amqp://unset")
        self._mutant = mutant

    @property
    def all(self) -> Sequence[Process]:
        """Every process of ours."""
        return [one for several in self.processes.values() for one in several]

    async def database(self) -> asyncpg.Connection:
        """A connection past every proxy. Raises OSError and asyncpg's errors."""
        return await asyncpg.connect(
            self.backing.database_url, timeout=5, target_session_attrs=SessionAttribute.read_write
        )

    async def start(self, stack: AsyncExitStack) -> None:
        """Returns when a post would go all the way. What was started is stopped with the stack."""
        stack.push_async_callback(self.backing.stop)
        await self.backing.start()
        await migrate.migrate(self.backing.database_url)
        await topology.apply(self.backing.amqp_url)
        self.subscribers = await stack.enter_async_context(listeners.subscribers())
        before = await self._proxy(stack, ("deliver", SUBSCRIBERS), ("127.0.0.1", self.subscribers.port))
        database = await self.database()
        try:
            await listeners.register(database, f"http://127.0.0.1:{before.port}")
        finally:
            await database.close()
        self.consumer = Consumer(self.backing.amqp_url)
        await self.consumer.start()
        stack.push_async_callback(self.consumer.stop)
        for name, kind in KINDS.items():
            env = await self._environment(stack, name, kind)
            numbers = [""] if kind.count == 1 else [f"-{n + 1}" for n in range(kind.count)]
            self.processes[name] = [
                Process(name + number, kind.args, env, self.folder / "logs", self._mutant) for number in numbers
            ]
        for process in self.all:
            stack.push_async_callback(process.stop)
            await process.start()

    async def _environment(self, stack: AsyncExitStack, name: str, kind: Kind) -> dict[str, str]:
        amqp, database = self.backing.amqp_url, self.backing.database_url
        if isinstance(self.backing, Single):  # of a cluster whole nodes are broken instead
            if kind.broker:
                proxy = await self._proxy(stack, (name, BROKER), self.backing.broker_address)
                amqp = self.backing.amqp_through(proxy.port)
            if kind.database:
                proxy = await self._proxy(stack, (name, DATABASE), self.backing.database_address)
                database = self.backing.database_through(proxy.port)
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CROSSDOCK_CONFIG": str(self.config_file),
            "CROSSDOCK_ENCRYPTION_KEY": KEY,
            "AMQP_URL": amqp,
            "DATABASE_URL": database,
        }

    async def _proxy(self, stack: AsyncExitStack, name: tuple[str, str], behind: tuple[str, int]) -> Proxy:
        proxy = self.proxies[name] = Proxy(*behind)
        await proxy.start()
        stack.push_async_callback(proxy.stop)
        return proxy


@asynccontextmanager
async def site(
    *,
    backing: type[Backing] = Single,
    rate: float = RATE,
    seed: int = 1,
    mutant: str | None = None,
    home: Path | None = None,
) -> AsyncIterator[Site]:
    """A pipeline of its own, on servers of its own; all of it is gone afterwards.

    `home`: an existing folder for all of its files, instead of a temporary one. `mutant`: the safeguard that every
    process does without.
    """
    folder = home or Path(tempfile.mkdtemp(prefix="crossdock-faults-"))
    try:
        made = Site(folder, backing(folder), rate, seed, mutant)
        async with AsyncExitStack() as stack:
            await made.start(stack)
            yield made
    finally:
        if home is None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
