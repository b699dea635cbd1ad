"""Messages confirmed a second by the quorum queue of `crossdock.inbound`: our publisher, and the broker's ceiling."""

from bench import backlog, bodies
from bench.common import PEERS, BenchmarkError, Servers, purge, rate
from bench.ingress import KEY
from bench.plan import Plan
from bench.row import Row
from schemas.topology import INBOUND


async def bench_publish(found: Servers, plan: Plan) -> list[Row]:
    """Ours makes and encodes every message; the raw socket sends one over and over and counts confirms."""
    ours: list[float] = []
    theirs: list[float] = []
    failed = None
    for _ in range(plan.runs):
        ours.append(await backlog.fill(found, plan.published))
        await purge(found.amqp)
        try:
            theirs.append(await ceiling(found, plan.published))
        except BenchmarkError as why:
            failed = str(why)
            break
    what = "messages published and confirmed/s, 1.1 kB"
    return [Row(what, "raw socket, frames made ahead", ours, theirs, failed=failed)]


async def ceiling(found: Servers, messages: int) -> float:
    """Messages a second that one quorum queue takes from one connection. Raises BenchmarkError."""
    raw = bodies.webhook(found.folder).raw
    made = await rate(found, str(PEERS / "raw_publish.py"), found.amqp, INBOUND, KEY, str(messages), body=raw)
    await purge(found.amqp)
    return made
