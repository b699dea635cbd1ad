"""Requests accepted per second (verified, confirmed by the quorum queue, answered), compared with alternatives."""

import asyncio
import subprocess
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

import aiohttp
import msgspec

from bench import bodies, load
from bench.bodies import Webhook
from bench.common import PEERS, BenchmarkError, Servers, answers, channel, process, purge
from bench.plan import Plan
from bench.row import Row
from deploy.local.children import free_ports
from schemas.topology import INBOUND, inbound_key

CELERY_QUEUE = "bench.celery"
WARM_UP = 1
"""Seconds of load on each program before any is measured."""
START = 30.0
"""Seconds for a peer to listen."""


class Peer(msgspec.Struct, frozen=True):
    """A program in `bench/peers`."""

    name: str
    command: Callable[[int, str, str], tuple[str, ...]]
    """Returns the command for a port, an AMQP URL and a token."""
    goal: float | None
    goal_large: float | None = None
    """Goal with large bodies; None: it is not run with them."""


KEY = inbound_key(bodies.PLATFORM, bodies.ACCOUNT, bodies.EVENT)
PROGRAMS = (
    Peer("bare aiohttp handler", lambda port, *_: (_file("bare_aiohttp"), str(port)), 0.7, 0.6),
    Peer(
        "aiohttp + aio-pika `exchange.publish`",
        lambda port, amqp, token: (_file("aiopika_publish"), str(port), amqp, INBOUND, KEY, token),
        3.0,
    ),
    Peer(
        "FastAPI + FastStream",
        lambda port, amqp, token: (_file("faststream_publish"), str(port), amqp, INBOUND, KEY, token),
        4.0,
    ),
    Peer(
        "Flask + Celery, gunicorn of 2 × cores + 1",
        lambda port, amqp, token: (_file("celery_publish"), str(port), amqp, CELERY_QUEUE, token),
        None,
    ),
)
CONNECTIONS = (64, 256)


async def bench_ingress(servers: Servers, plan: Plan) -> list[Row]:
    """Measure one process of ours and each peer, all started together, one under load at a time."""
    small, large = (bodies.webhook(servers.folder, size) for size in (bodies.SMALL, bodies.LARGE))
    async with AsyncExitStack() as stack:
        ours = await start_ingress(stack, servers)
        peers: dict[str, int] = {}
        failed: dict[str, str] = {}
        for peer in PROGRAMS:
            try:
                peers[peer.name] = await _start(stack, servers, peer, small)
            except BenchmarkError as why:
                failed[peer.name] = str(why)
        warm_up = _Series(servers, small, CONNECTIONS[0], WARM_UP)
        for port in (ours, *peers.values()):
            with suppress(BenchmarkError):  # what fails here fails where it is counted
                await warm_up.run(port)
        rows = []
        for hook, peered in ((small, PROGRAMS), (large, tuple(p for p in PROGRAMS if p.goal_large is not None))):
            for connections in CONNECTIONS:
                series = _Series(servers, hook, connections, plan.seconds)
                for turn in range(plan.runs):
                    await series.turn(ours, peers, peered[:: 1 if turn % 2 == 0 else -1])
                rows += [series.row(peer, failed.get(peer.name), large=hook is large) for peer in peered]
    return rows


async def start_ingress(stack: AsyncExitStack, servers: Servers, *, processes: int = 1) -> int:
    """Start our ingress, and return its port once it is ready."""
    port, admin = free_ports(2)
    config = servers.folder / "ingress.toml"
    config.write_text(f"[ingress]\nprocesses = {processes}\n")
    options = ("--config", str(config), "--port", str(port), "--admin-port", str(admin))
    await stack.enter_async_context(process(servers, "-m", "deploy.cli.main", "ingress", *options))
    for number in range(processes):  # their admin ports count up
        await answers(f"http://127.0.0.1:{admin + number}/readyz", 200)
    return port


class _Series:
    """Runs of ours and of the peers with one body and one number of connections."""

    def __init__(self, servers: Servers, hook: Webhook, connections: int, seconds: int) -> None:
        self._servers, self._hook, self._connections, self._seconds = servers, hook, connections, seconds
        self._pairs: dict[str, list[tuple[float, float]]] = {}
        self._failed: dict[str, list[str]] = {}

    async def turn(self, ours: int, peers: dict[str, int], order: tuple[Peer, ...]) -> None:
        """Run ours before each peer; two successful runs, one after the other, are a pair."""
        for peer in order:
            if peer.name not in peers:
                continue
            whose = "ours"
            try:
                mine = await self.run(ours)
                whose = "theirs"
                pair = (mine, await self.run(peers[peer.name]))
                self._pairs.setdefault(peer.name, []).append(pair)
            except BenchmarkError as why:
                self._failed.setdefault(peer.name, []).append(f"{whose}: {why}")

    async def run(self, port: int) -> float:
        """Return the requests accepted per second. Raises BenchmarkError."""
        url = f"http://127.0.0.1:{port}{self._hook.path}"
        try:
            result = await asyncio.to_thread(
                load.run,
                url,
                self._hook.headers,
                self._hook.raw,
                connections=self._connections,
                seconds=self._seconds,
            )
        except subprocess.SubprocessError as why:
            raise BenchmarkError(f"the load generator failed: {type(why).__name__}") from None
        finally:
            await purge(self._servers.amqp)
            await purge(self._servers.amqp, CELERY_QUEUE)
        if result.failed:
            raise BenchmarkError(f"{result.failed} of {result.done} requests failed")
        return result.per_second

    def row(self, peer: Peer, failed: str | None, *, large: bool) -> Row:
        """`failed`: why the peer did not start."""
        pairs, failures = self._pairs.get(peer.name, []), "; ".join(self._failed.get(peer.name, []))
        return Row(
            f"ingress accepted/s, {self._hook.size}, {self._connections} connections",
            peer.name,
            [mine for mine, _ in pairs],
            [theirs for _, theirs in pairs],
            peer.goal_large if large else peer.goal,
            failed=None if pairs else failed or failures or "no run",
            note=failures or None,
        )


async def _start(stack: AsyncExitStack, servers: Servers, peer: Peer, hook: Webhook) -> int:
    """Start a peer, and return its port once it answers the webhook. Raises BenchmarkError."""
    port = free_ports(1)[0]
    async with channel(servers.amqp) as opened:  # Celery's own declaration of it would be the same
        await opened.declare_queue(CELERY_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    child = await stack.enter_async_context(process(servers, *peer.command(port, servers.amqp, hook.token)))
    loop = asyncio.get_running_loop()
    until = loop.time() + START
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=START)) as session:
        while True:
            if child.poll() is not None:
                raise BenchmarkError(f"ended with {child.returncode} instead of starting")
            try:
                async with session.post(
                    f"http://127.0.0.1:{port}{hook.path}", data=hook.raw, headers=hook.headers
                ) as answer:
                    if answer.status == 200:
                        return port
                    reason = f"answered {answer.status}"
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = str(error)
            if loop.time() > until:
                raise BenchmarkError(f"not ready in {START:.0f} s: {reason}")
            await asyncio.sleep(0.1)


def _file(name: str) -> str:
    return str(PEERS / f"{name}.py")
