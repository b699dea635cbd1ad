"""Finds the servers: from the environment, else from what a running `crossdock up` wrote into its state folder."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl

from deploy import state as states
from deploy.cli.errors import CommandError, reason

if TYPE_CHECKING:
    import asyncpg
    from aio_pika.abc import AbstractChannel

CONNECT_TIMEOUT = 10.0
"""Seconds to connect to a server."""
TLS_FILES = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl", "cafile", "certfile", "keyfile"})
"""Parameters of DATABASE_URL and AMQP_URL that name files."""

T = TypeVar("T")


def database_url(state: Path | None = None) -> str:
    """Return DATABASE_URL, else the URL of the running `up`. Raises CommandError."""
    return check_database_url(_url("DATABASE_URL", states.read_endpoints(state).postgres, state))


def amqp_url(state: Path | None = None) -> str:
    """Return AMQP_URL, else the URL of the running `up`. Raises CommandError."""
    return check_amqp_url(_url("AMQP_URL", states.read_endpoints(state).amqp, state))


def encryption_key(state: Path | None) -> str | None:
    """Return CROSSDOCK_ENCRYPTION_KEY, else the key that `up` made in its state folder."""
    if (key := os.environ.get("CROSSDOCK_ENCRYPTION_KEY", "")).strip():
        return key
    try:
        return (states.folder(state) / states.KEY_FILE).read_text(errors="replace").strip()
    except OSError:
        return None


def check_database_url(url: str) -> str:
    """Return the URL for the driver. Raises CommandError without showing the URL, which holds a password."""
    from schemas.serverurls import checked
    from storage import dsn

    try:
        url = dsn.clean(checked("DATABASE_URL", url))
        if not url.startswith(("postgresql://", "postgres://")):
            raise CommandError("DATABASE_URL can't be read: write postgresql://user:password@host:5432/database")
        return url
    except ValueError as error:
        raise CommandError(str(error)) from None


def check_amqp_url(url: str) -> str:
    """Return the URL if it is valid. Raises CommandError without showing the URL, which holds a password."""
    from broker.connection import addresses
    from schemas.serverurls import checked

    try:
        url = checked("AMQP_URL", url)
    except ValueError as error:
        raise CommandError(str(error)) from None
    try:
        addresses(url)
    except ValueError:
        raise CommandError("AMQP_URL can't be read: write amqp://user:password@host:5672/vhost") from None
    return url


def _url(name: str, running: str, state: Path | None) -> str:
    given = os.environ.get(name)
    url = running if given is None or not given.strip() else given
    if not url:
        folder, what = states.folder(state), "not set" if given is None else "empty"
        raise CommandError(f"{name} is {what} and no `crossdock up` runs on {folder}: set it, or give --state")
    return url


@contextmanager
def reaching(server: str, name: str, url: str) -> Iterator[None]:
    """Turn connection errors into CommandError with the server's address. `name`: the variable that holds its URL."""
    try:
        yield
    except ValueError:
        # asyncpg raises it for a URL that it cannot parse, and may quote the URL.
        raise CommandError(f"{name} can't be read: it is not a URL of {server}") from None
    except (OSError, TimeoutError) as error:
        where = redacted(url)
        if (problem := tls_file_problem(url)) is not None:
            raise CommandError(f"{name} names a file that can't be read: {problem}") from None
        raise CommandError(
            f"{server} can't be reached at {where}: {reason(error)}; check {name} and that it is running"
        ) from None


def tls_file_problem(url: str) -> str | None:
    """Return which file that a URL names for TLS can't be read, and why; None if there is no such file."""
    for name, value in parse_qsl(url.partition("?")[2]):
        if name in TLS_FILES and value:
            try:
                Path(value).open("rb").close()
            except OSError as error:
                return f"{name}, {reason(error)}"
    return None


@asynccontextmanager
async def database(state: Path | None) -> AsyncIterator["asyncpg.Connection"]:
    """Open a connection to the database, on the host that takes writes. Raises CommandError and asyncpg's errors."""
    import asyncpg

    from storage import pool as pools

    url = database_url(state)
    connect = partial(pools.connect, url, name="crossdock cli", timeout=CONNECT_TIMEOUT)
    with reaching("PostgreSQL", "DATABASE_URL", url):
        try:
            connection = await connect()
        except asyncpg.TargetServerAttributeNotMatched:
            connection = await connect(writes=False)  # a server that accepts no writes now is enough to read
    try:
        yield connection
    finally:
        await connection.close()


def run_on_database(state: Path | None, work: "Callable[[asyncpg.Connection], Awaitable[T]]") -> T:
    """Run `work` on a connection to the database, and return its result. Raises CommandError and asyncpg's errors."""

    async def run() -> T:
        async with database(state) as connection:
            return await work(connection)

    return asyncio.run(run())


@asynccontextmanager
async def broker(state: Path | None) -> AsyncIterator["AbstractChannel"]:
    """Open a channel with confirms on the first node that answers. Raises CommandError and aio-pika's errors."""

    from broker.connection import addresses, connect

    nodes = addresses(amqp_url(state))
    for place, node in enumerate(nodes, 1):
        try:
            with reaching("RabbitMQ", "AMQP_URL", node):
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    connection = await connect(node)
            break
        except CommandError:
            if place == len(nodes):
                raise
    try:
        yield await connection.channel(on_return_raises=True)
    finally:
        await connection.close()


def redacted(url: str) -> str:
    """Return the URL without password and query; only its scheme if it is unclear where the password ends."""
    scheme, separator, rest = url.partition("://")
    before = rest.partition("?")[0]
    if not separator or ("@" in rest and "@" not in before):
        return f"{scheme}://…" if separator else "…"
    login, at, hosts = before.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}{at}{hosts}"
