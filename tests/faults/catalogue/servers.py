"""RabbitMQ and PostgreSQL that are killed, restarted, or alive but unavailable."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import asyncpg

from tests.faults.backing import Single, signal_all
from tests.faults.site import DATABASE, Site
from tests.faults.trial import Fault

DOWN = 2.0
"""Seconds until a killed server is started again."""


def single(site: Site) -> Single:
    """Return the servers of a site that has one of each."""
    assert isinstance(site.backing, Single)
    return site.backing


@asynccontextmanager
async def broker_killed(site: Site) -> AsyncIterator[None]:
    """SIGKILL to RabbitMQ, which is started again on its data at the end."""
    rabbitmq = single(site).rabbitmq
    os.kill(rabbitmq.pid, signal.SIGKILL)
    try:
        yield
    finally:
        await rabbitmq.restart()


@asynccontextmanager
async def broker_restarted(site: Site) -> AsyncIterator[None]:
    """Stop RabbitMQ cleanly and start it again."""
    await single(site).rabbitmq.restart()
    yield


@asynccontextmanager
async def database_killed(site: Site) -> AsyncIterator[None]:
    """SIGKILL to the postmaster and all its processes; PostgreSQL is started again on its data at the end."""
    postgres = single(site).postgres
    signal_all(postgres.pid, signal.SIGKILL)
    try:
        yield
    finally:
        await postgres.restart()


@asynccontextmanager
async def database_restarted(site: Site) -> AsyncIterator[None]:
    """Shut PostgreSQL down in fast mode and start it again."""
    await single(site).postgres.restart()
    yield


@asynccontextmanager
async def disk_alarm(site: Site) -> AsyncIterator[None]:
    """Make RabbitMQ believe that the disk is nearly full, so that it no longer reads from publishers."""
    rabbitmq = single(site).rabbitmq
    await rabbitmq.control("set_disk_free_limit", "1000000GB")
    try:
        yield
    finally:
        await rabbitmq.control("set_disk_free_limit", "50MB")


@asynccontextmanager
async def memory_alarm(site: Site) -> AsyncIterator[None]:
    """Make RabbitMQ believe that it uses too much memory, so that it no longer reads from publishers."""
    rabbitmq = single(site).rabbitmq
    await rabbitmq.control("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        yield
    finally:
        await rabbitmq.control("set_vm_memory_high_watermark", "0.4")


@asynccontextmanager
async def no_connections_left(site: Site) -> AsyncIterator[None]:
    """Take all connections of PostgreSQL, while the workers must connect again."""
    backing = single(site)
    taken: list[asyncpg.Connection] = []
    try:
        for kind in ("store", "deliver"):
            site.proxies[kind, DATABASE].cut()
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                taken.append(await asyncpg.connect(backing.database_url, timeout=5))
        yield
    finally:
        await asyncio.gather(*(connection.close() for connection in taken))


@asynccontextmanager
async def read_only(site: Site) -> AsyncIterator[None]:
    """Make transactions read-only by default, as on a server that is being taken out of service."""
    writer = await asyncpg.connect(
        single(site).database_url, server_settings={"default_transaction_read_only": "off"}, timeout=5
    )
    try:
        await writer.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await writer.execute("SELECT pg_reload_conf()")
        yield
    finally:
        await writer.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await writer.execute("SELECT pg_reload_conf()")
        await writer.close()


@asynccontextmanager
async def locked(site: Site, table: str) -> AsyncIterator[None]:
    """Lock the table, as a migration or a forgotten transaction does."""
    database = await site.database()
    try:
        async with database.transaction():
            await database.execute(f"LOCK TABLE crossdock.{table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await database.close()


FAULTS = (
    Fault("SIGKILL of RabbitMQ", broker_killed, DOWN),
    Fault("RabbitMQ restarted", broker_restarted, 0.0),
    Fault("SIGKILL of PostgreSQL", database_killed, DOWN),
    Fault("PostgreSQL restarted", database_restarted, 0.0),
    Fault("RabbitMQ's disk alarm", disk_alarm, 6.0),
    Fault("RabbitMQ's memory alarm", memory_alarm, 6.0),
    Fault("PostgreSQL out of connections", no_connections_left, 5.0),
    Fault("PostgreSQL read-only", read_only, 5.0),
    Fault("table of documents locked", partial(locked, table="documents"), 30.0),
    Fault("table of deliveries locked", partial(locked, table="outbox"), 5.0),
)
