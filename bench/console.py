"""How long the console's pages take to answer, with as many events stored as a plan says."""

import asyncio
import random
import statistics
import time
from uuid import UUID

import aiohttp
import asyncpg

from bench import questions
from bench.common import BenchmarkError, Servers, answers, process
from bench.plan import Plan
from bench.row import Row
from deploy.local.children import free_ports
from storage import migrate, subscriptions
from storage.subscriptions import Subscription
from storage.vault import Vault

DATABASE = "bench_console"
GOAL_MS = 50.0
RUNS = 40
"""Times that each page is asked for, each time about other things."""
SUBSCRIPTIONS = [UUID(f"0198c0de-0000-7000-8000-00000000000{number}") for number in range(7)]
"""Those of the stored deliveries."""
TOKEN = "the-benchmarks-token"
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


async def bench_console(servers: Servers, plan: Plan) -> list[Row]:
    """Measure every page in a database of its own, each time about other things. Raises BenchmarkError."""
    admin = await asyncpg.connect(servers.database)
    await admin.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    await admin.execute(f"CREATE DATABASE {DATABASE}")
    url = f"{servers.database.rpartition('/')[0]}/{DATABASE}"
    await migrate.migrate(url)
    database = await asyncpg.connect(url)
    documents = int(plan.stored / questions.VERSIONS_PER_DOCUMENT)
    await questions.fill(database, documents)
    for id_ in SUBSCRIPTIONS:
        await subscriptions.create(database, _subscription(id_))
    await database.close()
    port, admin_port = free_ports(2)
    env = {"DATABASE_URL": url, "CROSSDOCK_ENCRYPTION_KEY": Vault.generate(), "CROSSDOCK_CONSOLE_TOKEN": TOKEN}
    command = ("-m", "deploy.cli.main", "console", "--port", str(port), "--admin-port", str(admin_port))
    async with process(servers, *command, env=env):
        await answers(f"http://127.0.0.1:{port}/console/login", 200)
        times = await _visit(f"http://127.0.0.1:{port}", documents)
    await admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    await admin.close()
    return [
        Row(
            f"console at {plan.stored:,}, first byte of {name}: p95 ms",
            "the goal",
            [statistics.quantiles(values, n=20)[-1]],
            [GOAL_MS],
            1.0,
            less=True,
            digits=1,
        )
        for name, values in times.items()
    ]


def _subscription(id_: UUID) -> Subscription:
    return Subscription(
        id=id_,
        subscriber="boards",
        url="https://boards.example/hook",
        types=["*"],
        accounts=["*/*"],
        dialect="standard",
        max_in_flight=10,
        sealed=b"",
    )


async def _visit(base: str, documents: int) -> dict[str, list[float]]:
    """Return the milliseconds to the first byte of each page, by its name."""
    chance = random.Random(18)  # the same pages in every run
    times: dict[str, list[float]] = {name: [] for name in PAGES}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        login = session.post(f"{base}/console/login", data={"token": TOKEN}, headers={"Sec-Fetch-Site": "same-origin"})
        async with login as answer:
            if answer.status != 200:
                raise BenchmarkError(f"the console answered {answer.status} to the log-in")
        for _ in range(RUNS):
            for name, path in PAGES.items():
                place = {
                    "number": chance.randrange(1, documents // 10) * 10,
                    "subscription": chance.choice(SUBSCRIPTIONS),
                }
                started = time.perf_counter()
                async with session.get(base + path.format(**place), allow_redirects=False) as answer:
                    times[name].append((time.perf_counter() - started) * 1000)
                    await answer.read()
                    if answer.status not in (200, 303):
                        raise BenchmarkError(f"the console answered {answer.status} to {path}")
            await asyncio.sleep(0)
    return times
