"""How long the console's pages take to answer, and what ten open tabs cost the pipeline.

Every page is measured while webhooks come in at a third of the capacity, with as many events stored as a plan says; and
at rest, beside the same page with 2,000 events stored.
"""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar
from uuid import UUID

import aiohttp
import asyncpg
import msgspec

from bench import backlog, bodies, latency, load, questions
from bench.client import Order
from bench.common import BenchmarkError, Servers, answers, channel, process, purge, until, waiting
from bench.ingress import start_ingress
from bench.plan import Plan
from bench.row import Row, Times
from deploy.local.children import free_ports
from schemas.topology import STORE
from storage import migrate, subscriptions
from storage.subscriptions import Subscription
from storage.vault import Vault

DATABASE = "bench_console"
FEW = 2_000
"""Events in the database that the large one is compared with."""
LIKEWISE = (
    "UPDATE crossdock.finished SET status = 'failed'"
    " WHERE (id, finished_at) IN (SELECT id, finished_at FROM crossdock.finished ORDER BY id LIMIT 60)",
    "UPDATE crossdock.quarantined SET replayed_at = NULL, discarded_at = NULL",
    """
    INSERT INTO crossdock.outbox (
        id, subscription_id, next_attempt_at, created_at, received_at, event_id, message_id, document_id, version, type,
        key
    )
    SELECT gen_random_uuid(), subscription_id, next_attempt_at, created_at, received_at, event_id, message_id,
           document_id, version, type, key
    FROM (SELECT DISTINCT ON (subscription_id) * FROM crossdock.outbox) o
    CROSS JOIN generate_series(1, 1100)
    """,
)
"""Makes the lists of the small database as long as those of the large one, because the comparison is about how much is
stored, and not about how much is shown."""
GOALS_MS = {"p95": 50.0, "p99": 150.0}
MOST_LONGER = 1.5
"""A page of the large database takes at most so many times as long as the same page of the small one."""
MOST_DELAY = 1.1
"""The same of the time from arrival to commit with ten tabs open, beside none."""
RUNS = 100
"""Times that each page is asked for, each time about other things."""
SUBSCRIPTIONS = [UUID(f"0198c0de-0000-7000-8000-00000000000{number}") for number in range(7)]
"""Those of the stored deliveries."""
_Result = TypeVar("_Result")
TOKEN, PASSWORD = "the-benchmarks-token", "the-benchmarks-password"
SETTINGS = f"""# no accounts: the demo accounts
[subscribers.boards]
username = "boards"
password = "{PASSWORD}"
accounts = ["*/*"]
"""
PAGES = {
    "Now": "/console",
    "Transfers": "/console/transfers",
    "Transfers that are late": "/console/transfers?only=late",
    "Transfers whose documents disagree": "/console/transfers?only=disagreements",
    "A transfer": "/console/transfers/STO{number}?account=rothys",
    "Events": "/console/events",
    "Events of a rare account": "/console/events?account=apicbase/acme",
    "Quarantine": "/console/quarantine",
    "Quarantine of a stage": "/console/quarantine?stage=refused",
    "Deliveries": "/console/deliveries",
    "Failed deliveries": "/console/deliveries?status=failed",
    "Deliveries of a subscription": "/console/deliveries?subscription={subscription}",
    "Deliveries of a key": "/console/deliveries?key=STO{number}",
    "Subscriptions": "/console/subscriptions",
    "A subscription": "/console/subscriptions/{subscription}",
    "Actions": "/console/actions",
    "Find an order": "/console/find?q=STO{number}",
    "Find what nothing has": "/console/find?q=absent-{number}",
    "A document": "/console/documents/{number}",
}
TABS = ("Now", "Now", "Now", "Transfers", "Events", "Quarantine", "Deliveries", "Failed deliveries", "Subscriptions")
"""What is open, beside one document."""
REFRESH = 5.0
"""Seconds between two refreshes of a tab, as `console.js` has it."""
ASKING = 0.05
"""Seconds between two requests to the API."""


class Site(msgspec.Struct, frozen=True):
    """The pipeline with a console and an API on one database."""

    console: str
    api: str
    database: asyncpg.Connection
    documents: int
    """Number of documents that were stored before anything came in."""


async def bench_console(servers: Servers, plan: Plan) -> list[Row]:
    """Measure both databases one after the other, and the tabs on the large one. Raises BenchmarkError."""
    async with AsyncExitStack() as stack:
        port = await start_ingress(stack, servers)
        hook = bodies.marked(bodies.webhook(servers.folder))
        order = Order(
            f"http://127.0.0.1:{port}{hook.path}", hook.headers, hook.raw.decode(), latency.CONNECTIONS, plan.paced / 2
        )
        async with _site(servers, 0) as site:
            rate = await latency.capacity(site.database, order) / latency.SHARE
            order = msgspec.structs.replace(order, rate=rate, seconds=plan.paced)
        async with _site(servers, FEW) as site:
            for statement in LIKEWISE:
                await site.database.execute(statement)
            await site.database.execute("VACUUM ANALYZE")
            few = await _visit(site)
        async with _site(servers, plan.stored) as site:
            many = await _visit(site)
            loaded = await _loaded(servers, order, lambda: _visit(site))
            pairs = [[await _both(servers, site, order, tabs=tabs) for tabs in (False, True)] for _ in range(plan.runs)]
    what = f"console at {plan.stored:,} and {rate:,.0f}/s"
    rows: list[Row] = []
    for name, times in loaded.items():
        for quantile, goal in GOALS_MS.items():
            ours = getattr(_quantiles(times), quantile)
            rows.append(
                Row(
                    f"{what}, first byte of {name}: {quantile} ms", "the goal", [ours], [goal], 1.0, less=True, digits=1
                )
            )
    rows += [
        Row(
            f"console at {plan.stored:,} and rest, first byte of {name}: p50 ms",
            f"the same at {FEW:,}",
            [statistics.median(many[name])],
            [statistics.median(few[name])],
            MOST_LONGER,
            less=True,
            digits=1,
        )
        for name in PAGES
    ]
    return rows + [
        Row(
            f"{of} with ten tabs of the console open, at {rate:,.0f}/s: p99 ms",
            "without them",
            [getattr(with_tabs, field) for _, with_tabs in pairs],
            [getattr(without, field) for without, _ in pairs],
            MOST_DELAY,
            less=True,
            digits=1,
        )
        for of, field in (("arrival to commit", "commit"), ("the API's answer", "api"))
    ]


@asynccontextmanager
async def _site(servers: Servers, events: int) -> AsyncIterator[Site]:
    """Run the pipeline behind the ingress, a console and an API on a database that so many events fill."""
    admin = await asyncpg.connect(servers.database)
    await admin.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    await admin.execute(f"CREATE DATABASE {DATABASE}")
    url = f"{servers.database.rpartition('/')[0]}/{DATABASE}"
    await migrate.migrate(url)
    database = await asyncpg.connect(url)
    documents = int(events / questions.VERSIONS_PER_DOCUMENT)
    await questions.fill(database, documents)
    await _continue_ids(database)
    for id_ in SUBSCRIPTIONS:
        await subscriptions.create(database, _subscription(id_))
    config = servers.folder / "console.toml"
    config.write_text(SETTINGS)
    env = {
        "DATABASE_URL": url,
        "CROSSDOCK_CONFIG": str(config),
        "CROSSDOCK_ENCRYPTION_KEY": Vault.generate(),
        "CROSSDOCK_CONSOLE_TOKEN": TOKEN,
    }
    ports = free_ports(4)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(process(servers, *backlog.store_worker(), env=env))
        for name, (port, admin_port) in (("console", ports[:2]), ("api", ports[2:])):
            command = ("-m", "deploy.cli.main", name, "--port", str(port), "--admin-port", str(admin_port))
            await stack.enter_async_context(process(servers, *command, env=env))
            await answers(f"http://127.0.0.1:{admin_port}/readyz", 200)
        yield Site(f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[2]}", database, documents)
    await database.close()
    await admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    await admin.close()


async def _continue_ids(database: asyncpg.Connection) -> None:
    """Let the ids of new documents follow those that were filled in."""
    await database.execute(
        "SELECT setval(pg_get_serial_sequence('crossdock.documents', 'id'), (SELECT max(id) FROM crossdock.documents))"
    )


def _subscription(id_: UUID) -> Subscription:
    return Subscription(
        id=id_,
        subscriber="boards",
        url="https://boards.example/hook",
        types=["apicbase.purchase_order"],
        accounts=["*/*"],
        dialect="standard",
        max_in_flight=10,
        sealed=b"",
    )


async def _loaded(servers: Servers, order: Order, work: Callable[[], Awaitable[_Result]]) -> _Result:
    """Do `work` while webhooks come in at the rate of `order`, and return once all of them are stored.

    Raises BenchmarkError if one was refused.
    """
    is_done = asyncio.Event()

    async def posting() -> None:
        while not is_done.is_set():
            posted = await asyncio.to_thread(load.post, order)
            if posted.failed:
                raise BenchmarkError(f"{posted.failed} requests failed")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(posting())
        await asyncio.sleep(latency.SETTLE)
        result = await work()
        is_done.set()
    async with channel(servers.amqp) as opened:

        async def is_empty() -> bool:
            return not await waiting(opened, STORE)

        await until(is_empty, "everything stored")
    await purge(servers.amqp)
    return result


@asynccontextmanager
async def _browser(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    """Log in. Raises BenchmarkError."""
    async with aiohttp.ClientSession(site.console, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        login = session.post("/console/login", data={"token": TOKEN}, headers={"Sec-Fetch-Site": "same-origin"})
        async with login as answer:
            if answer.status != 200:
                raise BenchmarkError(f"the console answered {answer.status} to the log-in")
        yield session


async def _visit(site: Site) -> dict[str, list[float]]:
    """Return the milliseconds to the first byte of each page, by its name."""
    chance = random.Random(18)  # the same pages in every run
    times: dict[str, list[float]] = {name: [] for name in PAGES}
    async with _browser(site) as session:
        for _ in range(RUNS):
            for name in PAGES:
                path = _path(name, site, chance)
                started = time.perf_counter()
                async with session.get(path, allow_redirects=False) as answer:
                    times[name].append((time.perf_counter() - started) * 1000)
                    await answer.read()
                    if answer.status not in (200, 303):
                        raise BenchmarkError(f"the console answered {answer.status} to {path}")
    return times


def _path(name: str, site: Site, chance: random.Random) -> str:
    number = chance.randrange(1, site.documents // 10) * 10
    return PAGES[name].format(number=number, subscription=chance.choice(SUBSCRIPTIONS))


class _Costs(msgspec.Struct, frozen=True):
    """The p99 of both in milliseconds."""

    commit: float
    api: float


async def _both(servers: Servers, site: Site, order: Order, *, tabs: bool) -> _Costs:
    """Measure arrival to commit, and the API's answers, with or without ten tabs."""
    since = time.time() + 2 * latency.SETTLE
    until_then = time.monotonic() + 2 * latency.SETTLE + order.seconds

    async def work() -> list[float]:
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(_ask(site, until_then))
            if tabs:
                for number, name in enumerate((*TABS, "A document")):
                    tasks.create_task(_tab(site, name, number, until_then))
        return asking.result()

    api = await _loaded(servers, order, work)
    commit = await latency.arrival_to_commit(site.database, since)
    return _Costs(commit.p99, Times.of(api).p99)


async def _tab(site: Site, name: str, number: int, until_then: float) -> None:
    """Show a page, and refresh it as a browser does."""
    await asyncio.sleep(number * REFRESH / (len(TABS) + 1))
    async with _browser(site) as session:
        path, tag = _path(name, site, random.Random(number)), ""
        async with session.get(path) as answer:
            await answer.read()
        while time.monotonic() < until_then:
            async with session.get(path, headers={"HX-Request": "true", "If-None-Match": tag}) as answer:
                await answer.read()
                if answer.status not in (200, 304):
                    raise BenchmarkError(f"the console answered {answer.status} to a refresh of {path}")
                tag = answer.headers["ETag"]
            await asyncio.sleep(REFRESH)


async def _ask(site: Site, until_then: float) -> list[float]:
    """Return the milliseconds that the API took to list a subscriber's subscriptions."""
    times: list[float] = []
    async with aiohttp.ClientSession(site.api, auth=aiohttp.BasicAuth("boards", PASSWORD)) as session:
        while time.monotonic() < until_then:
            started = time.perf_counter()
            async with session.get("/v1/subscriptions") as answer:
                await answer.read()
                if answer.status != 200:
                    raise BenchmarkError(f"the API answered {answer.status}")
            times.append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(ASKING)
    return times


class _Quantiles(msgspec.Struct, frozen=True):
    p95: float
    p99: float


def _quantiles(times: list[float]) -> _Quantiles:
    cuts = statistics.quantiles(times, n=100)
    return _Quantiles(cuts[94], cuts[98])
