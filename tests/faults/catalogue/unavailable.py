"""A database that is unavailable in several ways, while the store worker is killed again and again."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from itertools import cycle
from unittest import mock

from deploy.local import supervisor
from tests.faults.backing import signal_all
from tests.faults.catalogue.connections import cut
from tests.faults.catalogue.servers import read_only, single
from tests.faults.site import DATABASE, Site
from tests.faults.sqlproxy import Statement, Trouble, is_about_a_row, sqlstates
from tests.faults.trial import Fault

KILLS = 30
"""More than RabbitMQ's default delivery limit of 20, and than any delivery limit that our queues ever had."""
CONSUMING = 0.4
"""Seconds from a process's first answer at its admin port until it has received messages, if it consumes any."""
SECONDS_PER_STATE = 4.0
"""Seconds for which the trigger raises each of `STATES`."""
STATES = ("53200", "58030", "XX000", "53400", "57P05", "25P03", "40003", "55006", "0A000")
"""Errors for which no message is to blame. An earlier release dead-lettered every message because of each of them."""

ONCE_CONNECTED = frozenset(Statement) - {Statement.CONNECT}


@contextmanager
def restarted_at_once() -> Iterator[None]:
    """Start processes that die again without the pauses that a supervisor makes after several deaths."""
    with mock.patch.object(supervisor, "RESTART_PAUSES", (0.0,)):
        yield


@asynccontextmanager
async def hung(site: Site) -> AsyncIterator[None]:
    """SIGSTOP to all of PostgreSQL's processes, so that connections are neither answered nor closed."""
    postmaster = single(site).postgres.pid
    signal_all(postmaster, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(postmaster, signal.SIGCONT)


@asynccontextmanager
async def refused(site: Site) -> AsyncIterator[None]:
    """Reset every connection, as where no server listens."""
    async with cut(site.proxies["store", DATABASE]), cut(site.proxies["deliver", DATABASE]):
        yield


@contextmanager
def answering(site: Site, trouble: Trouble) -> Iterator[None]:
    """Answer statements of all processes with this error."""
    for proxy in site.sql.values():
        proxy.arm(trouble)
    try:
        yield
    finally:
        for proxy in site.sql.values():
            proxy.disarm()


@asynccontextmanager
async def out_of_memory(site: Site) -> AsyncIterator[None]:
    """Accept connections, and fail every statement."""
    with answering(site, Trouble("53200", ONCE_CONNECTED)):
        yield


async def kill_store(site: Site) -> None:
    """SIGKILL to the store worker; return when its successor has received messages."""
    (process,) = site.processes["store"]
    pid = process.pid
    process.send(signal.SIGKILL)
    await process.replaced(pid)
    await asyncio.sleep(CONSUMING)


Unavailability = Callable[[Site], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def killed_meanwhile(site: Site, unavailable: Unavailability) -> AsyncIterator[None]:
    """Kill the store worker `KILLS` times while the database is unavailable."""
    with restarted_at_once():
        async with unavailable(site):
            for _ in range(KILLS):
                await kill_store(site)
            yield


@asynccontextmanager
async def each_class(site: Site, about_rows: bool) -> AsyncIterator[None]:
    """Kill the store worker again and again, while the database answers with an error of another class each time."""
    by_class = {state[:2]: state for state in sqlstates() if is_about_a_row(state) == about_rows}
    with restarted_at_once():
        for _, state in zip(range(max(KILLS, len(by_class))), cycle(by_class.values()), strict=False):
            with answering(site, Trouble(state, ONCE_CONNECTED)):
                await kill_store(site)
    yield


RAISE = """
CREATE FUNCTION crossdock.fault() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION USING ERRCODE = TG_ARGV[0], MESSAGE = 'an error of the tests'' trigger'; END $$
"""
DROP = "DROP FUNCTION IF EXISTS crossdock.fault() CASCADE"


@asynccontextmanager
async def each_insert_raises(site: Site) -> AsyncIterator[None]:
    """Raise the first of `STATES` on every insert of a receipt; messages blamed for it would be in quarantine."""
    async with trigger(site, f"('{STATES[0]}')", "receipts"):
        yield


@asynccontextmanager
async def raising(site: Site, states: Sequence[str]) -> AsyncIterator[None]:
    """Raise each error for some seconds on every insert of a receipt, one after the other."""
    for state in states:
        async with trigger(site, f"('{state}')", "receipts"):
            await asyncio.sleep(SECONDS_PER_STATE)
    yield


@asynccontextmanager
async def trigger(site: Site, argument: str, table: str, condition: str = "true") -> AsyncIterator[None]:
    """Raise an error on each insert into the table for whose row the condition holds."""
    database = await site.database()
    try:
        await database.execute(DROP)
        await database.execute(RAISE)
        await database.execute(
            f"CREATE TRIGGER fault BEFORE INSERT ON crossdock.{table} FOR EACH ROW WHEN ({condition}) "
            f"EXECUTE FUNCTION crossdock.fault{argument}"
        )
        yield
    finally:
        await database.execute(DROP)
        await database.close()


TIMES = f"store killed {KILLS} times while PostgreSQL"
FAULTS = (
    Fault(f"{TIMES} hangs", partial(killed_meanwhile, unavailable=hung), 0.0, slow=True),
    Fault(
        f"{TIMES} refuses connections",
        partial(killed_meanwhile, unavailable=refused),
        0.0,
        slow=True,
    ),
    Fault(
        f"{TIMES} is read-only",
        partial(killed_meanwhile, unavailable=read_only),
        0.0,
        slow=True,
    ),
    Fault(
        f"{TIMES} is out of memory",
        partial(killed_meanwhile, unavailable=out_of_memory),
        0.0,
        slow=True,
    ),
    Fault(
        f"{TIMES} answers with each class of errors",
        partial(each_class, about_rows=False),
        0.0,
        slow=True,
    ),
    Fault(
        f"{TIMES} answers with errors about rows",
        partial(each_class, about_rows=True),
        0.0,
        slow=True,
    ),
    Fault("each insert raises 53200", each_insert_raises, SECONDS_PER_STATE),
    Fault(
        f"each insert raises {', '.join(STATES[1:])} in turn",
        partial(raising, states=STATES[1:]),
        0.0,
        slow=True,
    ),
)
