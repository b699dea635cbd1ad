"""`python -m bench profile`: CPU time per message, by process and by stage, and the capacity that follows from it."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import msgspec

from bench import backlog, bodies, capacity, cpu, load, publishing, report, sampler, stages
from bench.capacity import Costs
from bench.common import PEERS, BenchmarkError, Servers, answers, channel, process, purge, until, waiting
from bench.deliveries import backlog_of, deliver_worker
from bench.plan import QUICK, Plan
from bench.row import Row
from deploy.local.children import free_ports
from schemas.topology import STORE
from storage.vault import Vault

PAGE = Path(__file__).parent / "README.md"
MARKER = "figures"
CONNECTIONS = 64
LONGER = 2
"""Factor of messages and seconds, because a profile needs more samples than a rate."""
PATIENCE = 120.0
WARM = 1000
"""Messages that are not measured, while statements are prepared and connections are opened."""


class Spent(msgspec.Struct, frozen=True):
    """CPU microseconds per message, while one of our processes worked."""

    kind: str
    messages: int
    ours: float
    rabbitmq: float
    postgres: float
    stages: dict[str, float]


class Sampled(NamedTuple):
    """One of our processes, being sampled."""

    kind: str
    process: "subprocess.Popen[bytes]"
    profile: Path


async def bench_profile(servers: Servers, plan: Plan) -> list[Row]:
    """Write the page's figures, or those of a quick run to a separate file. Returns no rows: there is no comparison."""
    count = plan.messages * LONGER
    ingress = await _ingress(servers, plan.seconds * LONGER)
    store, wal = await _store(servers, count)
    deliver = await _deliver(servers, plan.deliveries)
    ceilings = [await publishing.ceiling(servers, plan.published) for _ in range(plan.runs)]
    costs = Costs(
        ingress=ingress.ours,
        store=store.ours,
        deliver=deliver.ours,
        rabbitmq_in=ingress.rabbitmq,
        rabbitmq_out=store.rabbitmq,
        postgres_store=store.postgres,
        postgres_deliver=deliver.postgres,
        wal=wal,
        queue_rate=max(ceilings),
    )
    size = bodies.webhook(servers.folder).size
    text = markdown([ingress, store, deliver], costs, size)
    report.RESULTS.mkdir(exist_ok=True)
    (report.RESULTS / "profile.md").write_text(text)
    if plan != QUICK:
        report.include(PAGE, MARKER, text)
    return []


def markdown(spent: list[Spent], costs: Costs, size: str) -> str:
    """Return both tables in Markdown."""
    lines = ["| while it works | our process | RabbitMQ | PostgreSQL |", "|---|---|---|---|"]
    lines += [f"| {entry.kind} | {entry.ours:.0f} | {entry.rabbitmq:.0f} | {entry.postgres:.0f} |" for entry in spent]
    lines += ["", "| process | stage | µs | share |", "|---|---|---|---|"]
    for entry in spent:
        total = sum(entry.stages.values()) or 1.0
        lines += [
            f"| {entry.kind} | {name} | {entry.stages.get(name, 0.0):.1f} | {entry.stages.get(name, 0.0) / total:.0%} |"
            for name in stages.ORDER[entry.kind]
        ]
    return "\n".join(
        (
            f"CPU microseconds per message of {size}; {os.cpu_count()} cores; "
            + ", ".join(f"{entry.messages:,} messages through {entry.kind}" for entry in spent)
            + ".\n",
            *lines,
            "",
            f"Storing one message writes {costs.wal / 1000:.1f} kB of PostgreSQL's log. One quorum queue took "
            f"{costs.queue_rate:,.0f} messages per second from a raw socket, both on these cores.",
            "",
            f"Planned with {capacity.HEADROOM:.0%} of each core and queue, servers of {capacity.SERVER_CORES} cores:",
            "",
            capacity.markdown(costs),
        )
    )


async def _ingress(servers: Servers, seconds: int) -> Spent:
    port = free_ports(1)[0]
    hook = bodies.webhook(servers.folder)
    url = f"http://127.0.0.1:{port}{hook.path}"
    async with _sampled(servers, "ingress", ("ingress", "--port", str(port))) as sampled:

        async def work() -> int:
            result = await asyncio.to_thread(
                load.run, url, hook.headers, hook.raw, connections=CONNECTIONS, seconds=seconds
            )
            if result.failed:
                raise BenchmarkError(f"{result.failed} requests failed")
            return result.done

        await asyncio.to_thread(load.run, url, hook.headers, hook.raw, connections=CONNECTIONS, seconds=1)
        await asyncio.sleep(2 * sampler.WRITE)
        spent = await _spent(servers, sampled, work)
    await purge(servers.amqp)
    return spent


async def _store(servers: Servers, count: int) -> tuple[Spent, float]:
    """Profile the store worker, and return also the bytes of PostgreSQL's log per message."""
    database = await asyncpg.connect(servers.database)
    await backlog.empty(database)
    async with _sampled(servers, "store", ("worker", "store")) as sampled, channel(servers.amqp) as opened:
        await backlog.fill(servers, WARM)
        await until(lambda: backlog.filed(database, WARM), "everything stored")
        await _hold(sampled)
        await backlog.fill(servers, count)
        log = await database.fetchval("SELECT pg_current_wal_lsn()::text")

        async def empty() -> bool:
            return not await waiting(opened, STORE)

        async def work() -> int:
            await until(empty, "the queue is empty", seconds=PATIENCE)
            await until(lambda: backlog.filed(database, count + WARM), "everything stored")
            return count

        spent = await _spent(servers, sampled, work)
        wal = await database.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $1::text::pg_lsn)::float8", log)
    await backlog.empty(database)
    await database.close()
    return spent, wal / count


async def _deliver(servers: Servers, count: int) -> Spent:
    port = free_ports(1)[0]
    key = Vault.generate()
    database = await asyncpg.connect(servers.database)
    env = {"CROSSDOCK_ENCRYPTION_KEY": key}
    async with process(servers, str(PEERS / "receiver.py"), str(port)):
        await answers(f"http://127.0.0.1:{port}/", 200)
        command = deliver_worker(servers)[:-2]
        url = f"http://127.0.0.1:{port}/"
        async with (
            backlog_of(servers, database, key, url) as due,
            _sampled(servers, "deliver", command, env) as sampled,
        ):
            await _hold(sampled)
            await due.fill(count)

            async def work() -> int:
                await until(due.gone, "everything delivered", seconds=PATIENCE)
                return count

            spent = await _spent(servers, sampled, work)
    await backlog.empty(database)
    await database.close()
    return spent


@asynccontextmanager
async def _sampled(
    servers: Servers, kind: str, command: tuple[str, ...], env: Mapping[str, str] = {}
) -> AsyncIterator[Sampled]:
    """Run one of our processes under the sampler, and yield it once it is ready."""
    admin = free_ports(1)[0]
    file = servers.folder / f"{kind}.profile"
    whole = ("-m", "bench.sampler", str(file), kind, *command, "--admin-port", str(admin))
    async with process(servers, *whole, env=env) as child:
        await answers(f"http://127.0.0.1:{admin}/readyz", 200)
        try:
            yield Sampled(kind, child, file)
        finally:
            child.send_signal(signal.SIGCONT)  # a paused process cannot handle SIGTERM


async def _hold(sampled: Sampled) -> None:
    """Pause the process while its work is prepared, which is not to be measured; `_spent` resumes it."""
    await asyncio.sleep(2 * sampler.WRITE)  # so that its profile is complete
    sampled.process.send_signal(signal.SIGSTOP)


async def _spent(servers: Servers, sampled: Sampled, work: Callable[[], Awaitable[int]]) -> Spent:
    """Run `work`, which returns its number of messages, and return what all processes spend on each of them.

    Call it while the process is paused or has been idle for a while.
    """
    pids = (sampled.process.pid, servers.rabbitmq_pid, servers.postgres_pid)
    earlier, before = sampler.read(sampled.profile), [cpu.seconds(pid) for pid in pids]
    sampled.process.send_signal(signal.SIGCONT)
    count = await work()
    await asyncio.sleep(2 * sampler.WRITE)
    after = [cpu.seconds(pid) for pid in pids]
    later = sampler.read(sampled.profile)
    ours, rabbitmq, postgres = (now - was for now, was in zip(after, before, strict=True))
    return Spent(
        sampled.kind,
        count,
        (ours - (later.sampler - earlier.sampler)) / count * 1e6,
        rabbitmq / count * 1e6,
        postgres / count * 1e6,
        {name: (now - earlier.stages.get(name, 0.0)) / count * 1e6 for name, now in later.stages.items()},
    )
