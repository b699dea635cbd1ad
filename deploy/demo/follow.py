"""Where each post came out: the database's views, the events' exchange, the subscriber's calls."""

import asyncio
import time
from uuid import UUID

import asyncpg

from deploy.demo import receiver
from deploy.demo.posts import DemoArrival, Post, WatchedEvent
from deploy.demo.receiver import Receiver
from schemas import topology

ARRIVAL_TIMEOUT = 15.0
"""Seconds for all that was posted to be stored, announced and delivered."""


async def follow_all(posts: list[Post], postgres: str, heard: list[WatchedEvent], there: Receiver) -> None:
    """Looks for each until all have arrived, or the time is up."""
    connection = await asyncpg.connect(postgres)
    try:
        until = time.monotonic() + ARRIVAL_TIMEOUT
        for post in posts:
            if post.problem is None:
                post.problem = "it was not looked for"
                while post.problem is not None:
                    post.problem = await _follow(post, connection, heard, there)
                    if post.problem is None or time.monotonic() > until:
                        break
                    await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def _follow(post: Post, connection: asyncpg.Connection, heard: list[WatchedEvent], there: Receiver) -> str | None:
    """Adds to `post.came` where it came out, once all is there; until then says what is missing."""
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
    if {one["item"]: one["manufacturer"] for one in items} != post.answer:
        return "the allocations in the database are not those that were answered"
    wanted = {topology.event_key(row["type"], post.account)}
    if (announcement := post.platform.announcement) is not None:
        recipients = post.answer.values()
        wanted |= {topology.event_key(announcement.event_type, post.account, recipient) for recipient in recipients}
    queued = [one for one in heard if one.subject == row["key"] and one.routing_key in wanted]
    missing = wanted - {one.routing_key for one in queued}
    if missing:
        return f"no message on {topology.EVENTS} with the key {', '.join(sorted(missing))}"

    calls = {one.dialect: one for one in there.calls if one.event == str(row["id"])}
    for name in receiver.dialects_of(row["type"]):
        if name not in calls:
            return f"no webhook in dialect {name}"
        if (wrong := calls[name].wrong) is not None:
            return f"the webhook in dialect {name} is not genuine: {wrong}"

    def after(moment: float) -> float:
        return (moment - post.began) * 1000

    post.came = [
        DemoArrival("row", f"{row['key']} v{row['version']}", after(row["stored_at"].timestamp())),
        *(
            DemoArrival("queue", key, after(next(one.at for one in queued if one.routing_key == key)))
            for key in sorted(wanted)
        ),
        *(DemoArrival("call", f"{name}, verified", after(one.at)) for name, one in sorted(calls.items())),
        *(one for one in post.came if one.kind == "answer"),
        *(DemoArrival("item", f"{one['item']} to {one['manufacturer']}, {one['rule']}") for one in items),
    ]
    return None
