"""Messages confirmed per second by the quorum queue of `crossdock.inbound`: our publisher and the broker's ceiling."""

from bench import backlog, bodies
from bench.common import PEERS, BenchmarkError, Servers, purge, rate
from bench.ingress import KEY
from bench.plan import Plan
from bench.row import Row
from schemas.topology import INBOUND


async def bench_publish(servers: Servers, plan: Plan) -> list[Row]:
    """Measure our publisher, which encodes every message, and a raw socket that repeats one and counts confirms."""
    ours: list[float] = []
    theirs: list[float] = []
    failed = None
    for _ in range(plan.runs):
        ours.append(await backlog.fill(servers, plan.published))
        await purge(servers.amqp)
        try:
            theirs.append(await ceiling(servers, plan.published))
        except BenchmarkError as why:
            failed = str(why)
            break
    what = "messages published and confirmed/s, 1.1 kB"
    return [Row(what, "raw socket, frames made ahead", ours, theirs, failed=failed)]


async def ceiling(servers: Servers, messages: int) -> float:
    """Return the messages per second that one quorum queue takes from one connection. Raises BenchmarkError."""
    raw = bodies.webhook(servers.folder).raw
    ceiling_rate = await rate(
        servers, str(PEERS / "raw_publish.py"), servers.amqp, INBOUND, KEY, str(messages), body=raw
    )
    await purge(servers.amqp)
    return ceiling_rate
