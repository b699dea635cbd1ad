"""A site: servers, proxies, our processes, a load, and the receivers of its events."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.connect_utils import SessionAttribute

from broker import topology
from broker.commands import connected
from deploy import sections
from deploy.local.children import free_ports
from schemas.topology import DEAD, UNROUTED
from storage import migrate
from tests.faults import listeners
from tests.faults.backing import Backing, Single
from tests.faults.ledger import Ledger
from tests.faults.listeners import Consumer, Subscribers
from tests.faults.load import Load
from tests.faults.process import Process
from tests.faults.proxy import Proxy
from tests.faults.sqlproxy import SqlProxy
from tests.support import pipeline
from tests.support.receiver import KEY

ROOT = Path(__file__).parents[2]
RATE = 40.0
"""Posts per second: enough that each moment of a fault meets some of every platform, few enough for two cores."""

CONFIG = """
[ingress]
port = {port}
{ingress}

[delivery]                       # retries are quick, and so many that no delivery fails for good
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
    """A kind of process: its command, how many of it run, and which servers it uses."""

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
"""Two deliver workers, so that a lease keeps one of them out."""
BROKER, DATABASE, SUBSCRIBERS = "rabbitmq", "postgres", "subscribers"


def settings(port: int, retries: int = 400, ingress: str = "") -> str:
    """Return the configuration. `retries`: of a delivery, a second apart. `ingress`: more lines for its section."""
    return CONFIG.format(port=port, ingress=ingress, schedule=", ".join(["0", *(["1"] * retries)]))


class Site:
    """One pipeline under load. Use the function `site` to get one."""

    def __init__(
        self, folder: Path, backing: Backing, rate: float, seed: int, mutant: str | None, ingress: str
    ) -> None:
        self.folder = folder
        self.backing = backing
        self.ledger = Ledger()
        self.subscribers = Subscribers()
        self.proxies: dict[tuple[str, str], Proxy] = {}
        """By kind of process and server; the proxy of ("deliver", "subscribers") is in front of the subscribers."""
        self.processes: dict[str, list[Process]] = {}
        """All processes by their kind."""
        self.port = free_ports(1)[0]
        self.config_file = folder / "crossdock.toml"
        self.config_file.write_text(settings(self.port, ingress=ingress))
        config = pipeline.load(self.config_file)
        self.load = Load(f"http://127.0.0.1:{self.port}", config, self.ledger, rate=rate, seed=seed)
        self.consumer = Consumer("amqp://unset")
        self.sql: dict[str, SqlProxy] = {}
        """By kind of process: the proxy between its TCP proxy and PostgreSQL."""
        self.quarantined: set[UUID] = set()
        """Messages that were in quarantine when the present trial began."""
        self.poison: bytes | None = None
        """What the bodies of this trial contain that must end in quarantine; None: no body must."""
        self.unmet: list[str] = []
        """Demands of the present fault beyond the counts that were not met, for a person."""
        self._mutant = mutant
        self.seed = seed

    @property
    def all(self) -> Sequence[Process]:
        """Every process of ours."""
        return [process for several in self.processes.values() for process in several]

    def is_poison(self, raw: bytes) -> bool:
        """Return whether the body is one that the present fault made to be set aside."""
        return self.poison is not None and self.poison in raw

    async def dead(self) -> int:
        """Return how many messages wait in `crossdock.dead` and `crossdock.unrouted`. Raises TopologyError."""
        depths = await topology.depths(self.backing.amqp_url)
        return sum(ready for name, (ready, _) in depths.items() if name in (DEAD, UNROUTED))

    async def forget(self) -> None:
        """Reset the counts, so that what earlier trials left behind does not count in the next one."""
        self.subscribers.beyond_limit = 0
        self.subscribers.invalid.clear()
        self.poison = None
        self.unmet.clear()
        async with connected(self.backing.amqp_url) as connection:
            channel = await connection.channel()
            for queue in (DEAD, UNROUTED):
                await (await channel.get_queue(queue)).purge()
        database = await self.database()
        try:
            self.quarantined = {row["id"] for row in await database.fetch("SELECT id FROM crossdock.quarantine")}
        finally:
            await database.close()

    async def database(self) -> asyncpg.Connection:
        """Return a connection that passes no proxy. Raises OSError and asyncpg's errors."""
        return await asyncpg.connect(
            self.backing.database_url, timeout=5, target_session_attrs=SessionAttribute.read_write
        )

    async def start(self, stack: AsyncExitStack) -> None:
        """Start everything, and return when all processes are ready. The stack stops what was started."""
        stack.push_async_callback(self.backing.stop)
        await self.backing.start()
        await migrate.migrate(self.backing.database_url)
        await topology.apply(self.backing.amqp_url)
        self.subscribers = await stack.enter_async_context(listeners.subscribers())
        in_front = await self._proxy(stack, ("deliver", SUBSCRIBERS), ("127.0.0.1", self.subscribers.port))
        database = await self.database()
        try:
            await listeners.register(database, f"http://127.0.0.1:{in_front.port}")
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
        if isinstance(self.backing, Single):  # in a cluster, whole nodes are broken instead
            if kind.broker:
                proxy = await self._proxy(stack, (name, BROKER), self.backing.broker_address)
                amqp = self.backing.amqp_through(proxy.port)
            if kind.database:
                sql = self.sql[name] = SqlProxy(*self.backing.database_address, seed=self.seed)
                await sql.start()
                stack.push_async_callback(sql.stop)
                proxy = await self._proxy(stack, (name, DATABASE), ("127.0.0.1", sql.port))
                database = self.backing.database_through(proxy.port)
        return self.variables(name, amqp, database)

    def variables(self, name: str, amqp_url: str, database_url: str) -> dict[str, str]:
        """Return the environment of a kind of process."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CROSSDOCK_CONFIG": str(self.config_file),
            "CROSSDOCK_ENCRYPTION_KEY": KEY,
            "AMQP_URL": amqp_url,
            "DATABASE_URL": database_url,  # of the administrator, from which each process changes to its role
        }
        return sections.environment(name, environment, {})

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
    ingress: str = "",
) -> AsyncIterator[Site]:
    """Run a pipeline of its own, on servers of its own; its files are removed afterwards.

    `home`: an existing folder for the files, which stays, instead of a temporary one. `mutant`: the safeguard that
    every process lacks. `ingress`: more lines for that section of the configuration.
    """
    folder = home or Path(tempfile.mkdtemp(prefix="crossdock-faults-"))
    try:
        created = Site(folder, backing(folder), rate, seed, mutant, ingress)
        async with AsyncExitStack() as stack:
            await created.start(stack)
            yield created
    finally:
        if home is None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
