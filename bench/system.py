"""The whole pipeline, `crossdock up`, on the benchmark's servers: its CPU while idle, and whether its memory grows."""

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
"""Seconds after which the work of starting is over."""
PATIENCE = 1800.0
"""Seconds for half a million messages to be stored and delivered."""
CONNECTIONS = 16


async def bench_idle(servers: Servers, plan: Plan) -> list[Row]:
    """Measure the CPU of all our processes together, and of the servers, while idle, in per cent of one core."""
    ours: list[float] = []
    server_cpu: list[float] = []
    async with _up(servers, {}) as (pid, _):
        await asyncio.sleep(SETTLE)
        pids = (pid, servers.rabbitmq_pid, servers.postgres_pid)
        for _ in range(plan.runs):
            before, started = [cpu.seconds(id_) for id_ in pids], time.perf_counter()
            await asyncio.sleep(plan.idle)
            took = time.perf_counter() - started
            spent = [(cpu.seconds(id_) - was) / took * 100 for id_, was in zip(pids, before, strict=True)]
            ours.append(spent[0])
            server_cpu.append(spent[1] + spent[2])
    core = [100.0] * len(ours)
    return [
        Row("idle `crossdock up`, our processes, % of a core", "one core", ours, core, 0.02, less=True, digits=1),
        Row("idle, RabbitMQ and PostgreSQL, % of a core", "one core", server_cpu, core, less=True, digits=1),
    ]


async def bench_memory(servers: Servers, plan: Plan) -> list[Row]:
    """Measure the memory of each process after many messages and after few: posted, stored, published, delivered."""
    few, many = plan.handled
    key = Vault.generate()
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}/"
    database = await asyncpg.connect(servers.database)
    await backlog.empty(database)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(process(servers, str(PEERS / "receiver.py"), str(port)))
        await answers(url, 200)
        await stack.enter_async_context(outbound.subscribed(database, key, [url]))
        _, endpoints = await stack.enter_async_context(_up(servers, {"CROSSDOCK_ENCRYPTION_KEY": key}))
        pids = {name: pid for name, pid in endpoints.pids.items() if name not in ("postgres", "rabbitmq")}
        await _handle(servers, database, endpoints.ingress, few, few)
        early = {name: cpu.resident(pid) for name, pid in pids.items()}
        await _handle(servers, database, endpoints.ingress, many - few, many)
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
async def _up(servers: Servers, env: dict[str, str]) -> AsyncIterator[tuple[int, Endpoints]]:
    """Run `crossdock up`, and yield the supervisor's PID and the endpoints once it is ready."""
    state = Path(servers.folder) / "up"
    port = str(free_ports(1)[0])
    config = servers.folder / "up.toml"
    config.write_text(outbound.SETTINGS)
    command = ("-m", "deploy.cli.main", "up", "--config", str(config), "--state", str(state), "--port", port)
    async with process(servers, *command, env=env) as child:

        async def ready() -> bool:
            if child.poll() is not None:
                raise BenchmarkError(f"`crossdock up` ended with {child.returncode}")
            return bool(read_endpoints(state).ingress)

        await until(ready, "`crossdock up` is ready", seconds=START)
        yield child.pid, read_endpoints(state)


async def _handle(servers: Servers, database: asyncpg.Connection, ingress: str, count: int, total: int) -> None:
    """Post `count` webhooks, and wait until all `total` are stored and delivered."""
    hook = bodies.marked(bodies.webhook(servers.folder))
    order = Order(ingress + hook.path, hook.headers, hook.raw.decode(), CONNECTIONS, PATIENCE, count=count)
    result = await asyncio.to_thread(load.post, order)
    if result.failed:
        raise BenchmarkError(f"{result.failed} of {result.done} requests failed")
    await until(lambda: backlog.filed(database, total), "everything stored", seconds=PATIENCE, pause=1)

    async def delivered() -> bool:
        return not await database.fetchval("SELECT EXISTS (SELECT FROM crossdock.outbox)")

    await until(delivered, "everything delivered", seconds=PATIENCE, pause=1)
