"""The console killed while it works off what an operator started: exactly what was shown is done, once."""

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp
import asyncpg
import msgspec

from deploy.local.children import free_ports
from storage import subscriptions
from tests.faults.process import Process
from tests.faults.site import Site
from tests.faults.trial import Fault
from tests.support.console import Client
from tests.support.many import ended, hidden
from tests.support.pipeline import until
from tests.support.receiver import subscribe

TOKEN = "the-operators-token-of-the-faults"
RETRY = "/console/deliveries/retry"
MATCHING, OTHERS, LATER = 1_234, 3_766, 50
"""Failed deliveries that the operator selects, others, and some more that would match and fail after the count."""
TYPE = "channelape.receipt_confirmation"
PLACES = (300, 700, 1_100)
"""The deliveries at which the job is held and its process is killed, each in another piece of the job."""
IN_ORDER = "SELECT id FROM crossdock.finished WHERE subscription_id = $1 AND type = $2 ORDER BY created_at, id"
"""The deliveries in the order in which the job takes them."""
HELD = """
SELECT done FROM crossdock.jobs
WHERE id = $1 AND done > $2 AND EXISTS (
    SELECT FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database() AND application_name LIKE 'crossdock console%'
)
"""


class _Order(msgspec.Struct, frozen=True):
    """A job that the console works off, and what it must do."""

    job: UUID
    subscription: UUID
    ids: set[UUID]
    """The deliveries that were selected."""


@asynccontextmanager
async def killed_in_a_job(site: Site) -> AsyncIterator[None]:
    """SIGKILL to the console three times while it sends 1,234 of 5,000 failed deliveries again."""
    port = free_ports(1)[0]
    variables = site.variables("console", site.backing.amqp_url, site.backing.database_url)
    env = {**variables, "CROSSDOCK_CONSOLE_TOKEN": TOKEN}
    console = Process("console", ("console", "--port", str(port)), env, site.folder / "logs", None)
    database, holder = await site.database(), await site.database()
    subscription: UUID | None = None
    try:
        subscription = await subscribe(database, "http://127.0.0.1:9/x", enabled=False)
        await ended(database, subscription, OTHERS, type_="channelape.other")
        ids = await ended(database, subscription, MATCHING, type_=TYPE)
        await console.start()
        in_order = [row["id"] for row in await database.fetch(IN_ORDER, subscription, TYPE)]
        places = [in_order[place] for place in PLACES]
        held = await _hold(holder, places[0])
        order = _Order(await _start(database, site, f"http://127.0.0.1:{port}", subscription), subscription, ids)
        await ended(database, subscription, LATER, type_=TYPE)
        await _kill(database, holder, console, order.job, held, places[1:])
        yield
        await _judge(site, database, order)
    finally:
        await console.stop()
        await holder.close()
        if subscription is not None:
            await database.execute("DELETE FROM crossdock.outbox WHERE subscription_id = $1", subscription)
            await database.execute("DELETE FROM crossdock.finished WHERE subscription_id = $1", subscription)
            await subscriptions.delete(database, subscription)
        await database.close()


async def _hold(holder: asyncpg.Connection, id_: UUID) -> asyncpg.transaction.Transaction:
    """Keep the job from getting past a delivery until the transaction ends."""
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("SELECT FROM crossdock.finished WHERE id = $1 FOR UPDATE", id_)
    return transaction


async def _start(database: asyncpg.Connection, site: Site, base: str, subscription: UUID) -> UUID:
    """Send again all that fail, as an operator does who presses twice; return the id of the job."""
    jobs = await database.fetchval("SELECT count(*) FROM crossdock.jobs")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        client = Client(session, base)
        await client.log_in_with(TOKEN)
        chosen = {"all": "1", "status": "failed", "type": TYPE, "subscription": str(subscription)}
        page = await client.post(RETRY, chosen)
        if f"Send {MATCHING:,} deliveries again?" not in page.text:
            site.unmet.append(f"the page of confirmation does not say {MATCHING:,}")
        form = [*hidden(page.html), ("typed", str(MATCHING))]
        for _ in range(2):
            await client.post(RETRY, form)
    id_: UUID = await database.fetchval("SELECT id FROM crossdock.jobs ORDER BY created_at LIMIT 1 OFFSET $1", jobs)
    return id_


async def _kill(
    database: asyncpg.Connection,
    holder: asyncpg.Connection,
    console: Process,
    job: UUID,
    held: asyncpg.transaction.Transaction,
    places: Sequence[UUID],
) -> None:
    """Kill the process where the job is held, and let the next one get as far as the following place."""
    done = 0
    for following in (*places, None):

        async def is_held(before: int = done) -> int | None:
            number: int | None = await database.fetchval(HELD, job, before)
            return number

        done = await until(is_held, what="the middle of the job")
        pid = console.pid
        console.send(signal.SIGKILL)
        await held.rollback()  # the statement of the process that is dead ends now, and its transaction with it
        if following is not None:
            held = await _hold(holder, following)
        await console.replaced(pid)


async def _judge(site: Site, database: asyncpg.Connection, order: _Order) -> None:
    """Note what was not done as it was shown."""

    async def job() -> asyncpg.Record | None:
        return await database.fetchrow(
            "SELECT outcome, done, failed, (SELECT count(*) FROM crossdock.jobs WHERE created_at > j.created_at) "
            "FROM crossdock.jobs j WHERE id = $1 AND finished_at IS NOT NULL",
            order.job,
        )

    outcome = tuple(await until(job, what="the end of the job"))
    if outcome != ("done", MATCHING, 0, 0):
        site.unmet.append(f"the job ended with outcome, done, failed, further jobs: {outcome}")
    sent = "SELECT id FROM crossdock.outbox WHERE subscription_id = $1"
    again = {row["id"] for row in await database.fetch(sent, order.subscription)}
    if again != order.ids:
        wrong = f"{len(order.ids - again)} were left out and {len(again - order.ids)} were not selected"
        site.unmet.append(f"the deliveries that were sent again: {wrong}")


FAULTS = (Fault("SIGKILL of the console in a job, three times", killed_in_a_job, 0.0),)
