"""What a thousand subscriptions with filters cost the store worker."""

from uuid import UUID, uuid4

import asyncpg
import msgspec

from bench import backlog, bodies
from bench.common import Servers
from bench.plan import Plan
from bench.row import Row
from storage import subscriptions
from storage.subscriptions import Subscription

SUBSCRIPTIONS = 1_000
FIELD = "locationId"
"""The field of the order that each filter requires another value of."""


async def bench_filters(servers: Servers, plan: Plan) -> list[Row]:
    """Compare SUBSCRIPTIONS with filters, of which one matches each event, with one that has none."""
    database = await asyncpg.connect(servers.database)
    location = msgspec.json.decode(bodies.webhook(servers.folder).raw)[FIELD]
    others = [f"{location}-{number}" for number in range(1, SUBSCRIPTIONS)]
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(plan.runs):
        theirs.append(await _stored(servers, database, plan.messages, [None]))
        ours.append(await _stored(servers, database, plan.messages, [location, *others]))
    await database.execute("TRUNCATE crossdock.subscribed CASCADE")
    await database.close()
    return [
        Row(f"stored events/s, {SUBSCRIPTIONS:,} subscriptions with filters", "one without", ours, theirs, 0.75),
    ]


async def _stored(servers: Servers, database: asyncpg.Connection, messages: int, locations: list[str | None]) -> float:
    """Return the events that are stored per second, each with one delivery."""
    await backlog.fill(servers, messages)
    await backlog.empty(database)
    await database.execute("TRUNCATE crossdock.subscribed, crossdock.outbox CASCADE")
    for location in locations:
        await subscriptions.create(database, _subscription(uuid4(), location))
    return await backlog.stored(servers, messages)


def _subscription(id_: UUID, location: str | None) -> Subscription:
    return Subscription(
        id=id_,
        subscriber="",
        url="https://warehouse.example/hook",
        types=["*"],
        accounts=["*/*"],
        dialect="standard",
        max_in_flight=10,
        filter=None if location is None else msgspec.json.encode({"data": {FIELD: location}}).decode(),
        sealed=b"",
    )
