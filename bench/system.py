"""The whole pipeline, `crossdock up`, on the benchmark's servers: what it takes while idle, and whether it grows."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg

from bench import backlog, bodies, cpu, load
from bench import deliveries as outbound
from bench.client import Order
from bench.common import PEERS, BenchmarkError, Servers, answers, process, until
from bench.plan import Plan
from bench.row import Row
from deploy.local.children import free_ports
from deploy.state import Endpoints, read_endpoints
from storage.vault import Vault

START = 60.0
"""Seconds for everything to be ready."""
SETTLE = 5.0
"""Seconds after which what belongs to starting is over."""
PATIENCE = 1800.0
"""Seconds for half a million messages to be stored and delivered."""
CONNECTIONS = 16


async def bench_idle(found: Servers, plan: Plan) -> list[Row]:
    """CPU of all our processes together, and of the servers, while nothing happens; in per cent of one core."""
    ours: list[float] = []
    servers: list[float] = []
    async with _up(found, {}) as (pid, _):
        await asyncio.sleep(SETTLE)
        pids = (pid, found.rabbitmq_pid, found.postgres_pid)
        for _ in range(plan.runs):
            before, started = [cpu.seconds(one) for one in pids], time.perf_counter()
            await asyncio.sleep(plan.idle)
            took = time.perf_counter() - started
            spent = [(cpu.seconds(one) - was) / took * 100 for one, was in zip(pids, before, strict=True)]
            ours.append(spent[0])
            servers.append(spent[1] + spent[2])
    core = [100.0] * len(ours)
    return [
        Row("idle `crossdock up`, our processes, % of a core", "one core", ours, core, 0.02, less=True, digits=1),
        Row("idle, RabbitMQ and PostgreSQL, % of a core", "one core", servers, core, less=True, digits=1),
    ]


async def bench_memory(found: Servers, plan: Plan) -> list[Row]:
    """Memory of each process after many messages beside after some: posted, stored, announced, delivered."""
    few, many = plan.handled
    key = Vault.generate()
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}/"
    database = await asyncpg.connect(found.database)
    await backlog.empty(database)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(process(found, str(PEERS / "receiver.py"), str(port)))
        await answers(url, 200)
        await stack.enter_async_context(outbound.subscribed(database, key, [url]))
        _, endpoints = await stack.enter_async_context(_up(found, {"CROSSDOCK_ENCRYPTION_KEY": key}))
        pids = {name: pid for name, pid in endpoints.pids.items() if name not in ("postgres", "rabbitmq")}
        await _handle(found, database, endpoints.ingress, few, few)
        early = {name: cpu.resident(pid) for name, pid in pids.items()}
        await _handle(found, database, endpoints.ingress, many - few, many)
        late = {name: cpu.resident(pid) for name, pid in pids.items()}
    await backlog.empty(database)
    await database.close()
    return [
        Row(
            f"memory of {name} after {many:,} messages, MB",
            f"after {few:,}",
            [late[name]],
            [early[name]],
            1.15,
            less=True,
        )
        for name in pids
    ]


@asynccontextmanager
async def _up(found: Servers, env: dict[str, str]) -> AsyncIterator[tuple[int, Endpoints]]:
    """Running and ready: the supervisor's pid, and endpoints.json."""
    state = Path(found.folder) / "up"
    port = str(free_ports(1)[0])
    config = found.folder / "up.toml"
    config.write_text(outbound.SETTINGS)
    command = ("-m", "deploy.cli.main", "up", "--config", str(config), "--state", str(state), "--port", port)
    async with process(found, *command, env=env) as child:

        async def ready() -> bool:
            if child.poll() is not None:
                raise BenchmarkError(f"`crossdock up` ended with {child.returncode}")
            return bool(read_endpoints(state).ingress)

        await until(ready, "`crossdock up` is ready", seconds=START)
        yield child.pid, read_endpoints(state)


async def _handle(found: Servers, database: asyncpg.Connection, ingress: str, count: int, total: int) -> None:
    """Posts, and waits until all of it is stored and delivered."""
    hook = bodies.marked(bodies.webhook(found.folder))
    order = Order(ingress + hook.path, hook.headers, hook.raw.decode(), CONNECTIONS, PATIENCE, count=count)
    result = await asyncio.to_thread(load.post, order)
    if result.failed:
        raise BenchmarkError(f"{result.failed} of {result.done} requests failed")
    await until(lambda: backlog.filed(database, total), "everything stored", seconds=PATIENCE, pause=1)

    async def delivered() -> bool:
        return not await database.fetchval("SELECT EXISTS (SELECT FROM crossdock.outbox)")

    await until(delivered, "everything delivered", seconds=PATIENCE, pause=1)
