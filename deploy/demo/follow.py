"""Finds where each post arrived: the database's views, the events' exchange, the subscriber's webhooks."""

import asyncio
import time
from uuid import UUID

import asyncpg

from deploy.demo import receiver
from deploy.demo.posts import DemoArrival, Post, WatchedEvent
from deploy.demo.receiver import Receiver
from schemas import topology
from schemas.platforms.ustore import manufacturer_order

ARRIVAL_TIMEOUT = 15.0
"""Seconds within which all posts must be stored, published and delivered."""


async def follow_all(posts: list[Post], postgres: str, consumed: list[WatchedEvent], subscriber: Receiver) -> None:
    """Wait for each post until all have arrived, or the time is over."""
    connection = await asyncpg.connect(postgres)
    try:
        until = time.monotonic() + ARRIVAL_TIMEOUT
        for post in posts:
            if post.problem is None:
                post.problem = "it was not checked"
                while post.problem is not None:
                    post.problem = await _follow(post, connection, consumed, subscriber)
                    if post.problem is None or time.monotonic() > until:
                        break
                    await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def _follow(
    post: Post, connection: asyncpg.Connection, consumed: list[WatchedEvent], subscriber: Receiver
) -> str | None:
    """Fill `post.arrivals` if everything has arrived; else return what is missing."""
    row = await connection.fetchrow(
        "SELECT id, key, type, version, stored_at, raw FROM crossdock.events WHERE message_id = $1", UUID(post.id)
    )
    if row is None:
        return "no row is stored"
    if row["raw"] != post.body:
        return "the row does not hold the very bytes that were sent"
    items = await connection.fetch(
        "SELECT order_product_id AS item, manufacturer_id AS manufacturer, rule, allocated_at "
        "FROM crossdock.allocations WHERE account = $1 AND order_id = $2 ORDER BY order_product_id",
        post.account,
        row["key"] if post.answer else "",
    )
    if {item["item"]: item["manufacturer"] for item in items} != post.answer:
        return "the allocations in the database are not those that were answered"
    keys = {topology.event_key(row["type"], post.account)} | {
        topology.event_key(manufacturer_order.TYPE, post.account, manufacturer) for manufacturer in post.answer.values()
    }
    queued = [event for event in consumed if event.subject == row["key"] and event.routing_key in keys]
    missing = keys - {event.routing_key for event in queued}
    if missing:
        return f"no message on {topology.EVENTS} with the key {', '.join(sorted(missing))}"

    calls = {call.dialect: call for call in subscriber.calls if call.event == str(row["id"])}
    for name in receiver.dialects_of(row["type"]):
        if name not in calls:
            return f"no webhook in dialect {name}"
        if (problem := calls[name].problem) is not None:
            return f"the webhook in dialect {name} is not genuine: {problem}"

    def after(moment: float) -> float:
        return (moment - post.started_at) * 1000

    post.arrivals = [
        DemoArrival("row", f"{row['key']} v{row['version']}", after(row["stored_at"].timestamp())),
        *(
            DemoArrival("queue", key, after(next(event.at for event in queued if event.routing_key == key)))
            for key in sorted(keys)
        ),
        *(DemoArrival("call", f"{name}, verified", after(call.at)) for name, call in sorted(calls.items())),
        *(arrival for arrival in post.arrivals if arrival.kind == "answer"),
        *(DemoArrival("item", f"{item['item']} to {item['manufacturer']}, {item['rule']}") for item in items),
    ]
    return None
