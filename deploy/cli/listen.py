"""`crossdock listen`: shows events as they are stored, and posts them to a server under development."""

import asyncio
import time
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from deploy.cli import servers
from deploy.cli.errors import CommandError
from deploy.cli.log_events import Accounts, Chosen, FilterText, Types, opened, until_stopped
from deploy.cli.options import State
from deploy.cli.output import printable

if TYPE_CHECKING:
    import aiohttp

    from broker.eventlog import EventLog
    from schemas.cloudevents import CloudEvent
    from schemas.outbound import Dialect, Event

TIMEOUT = 30.0
"""Seconds for an answer of the server under development."""
PAUSE = 0.5
"""Seconds between two attempts while it does not listen."""


def listen(
    types: Types = None,
    accounts: Accounts = None,
    filter_: FilterText = None,
    forward: Annotated[
        str | None,
        typer.Option(
            "--forward", metavar="URL", help="Post each event to this URL, such as http://127.0.0.1:3000/hook."
        ),
    ] = None,
    dialect: Annotated[
        str, typer.Option("--dialect", metavar="D", help="Format of what is posted, as subscriptions have it.")
    ] = "standard",
    state: State = None,
) -> None:
    """Show events from now on, one line each, until Ctrl-C; with --forward, post each to a server under development.

    What is posted is signed with a secret that is printed at the start. While the server does not listen, events wait
    for it; while RabbitMQ is away, the command waits for that.
    """
    chosen = Chosen(types, accounts, filter_)
    forwarder = None if forward is None else Forwarder(_checked(forward), _dialect(dialect))
    asyncio.run(_listen(servers.amqp_url(state), chosen, forwarder))


def _checked(url: str) -> str:
    """Return a URL that can be posted to. Raises BadParameter."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise typer.BadParameter(f"{url!r}: write http://127.0.0.1:3000/hook", param_hint="--forward")
    return url


def _dialect(name: str) -> "Dialect":
    """Return a dialect. Raises BadParameter."""
    from schemas.dialects import get_dialect

    try:
        return get_dialect(name)
    except LookupError as error:
        raise typer.BadParameter(str(error), param_hint="--dialect") from None


class Forwarder:
    """Posts events to a server under development, one after the other."""

    def __init__(self, url: str, dialect: "Dialect") -> None:
        self._url = url
        self._dialect = dialect
        self._session: aiohttp.ClientSession | None = None
        self.secret = None if dialect.make_secret is None else dialect.make_secret()

    async def __aenter__(self) -> "Forwarder":
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def introduction(self) -> str:
        """Return what the user needs to know before the first event."""
        where = f"posting to {self._url} in dialect {self._dialect.name}"
        if self.secret is None:
            return where
        return f"{where}, {'with ?token=' if self._dialect.uses_query_key else 'signed with '}{self.secret}"

    async def post(self, event: "CloudEvent") -> tuple[str, bool]:
        """Post an event and return what came of it, and whether that counts as delivered. Waits for the server."""
        import aiohttp

        from schemas.outbound import Credentials, UntranslatableError

        if not self._dialect.supports(event.type):
            return f"not posted: dialect {self._dialect.name} has no such event", False
        secrets = () if self.secret is None else (self.secret,)
        credentials = Credentials(secrets=secrets, query_key="token" if self._dialect.uses_query_key else None)
        stored = _event(event)
        if stored is None:
            return "not posted: it is too large for the log, which refers to it with dataref", False
        is_waiting = False
        while True:
            try:
                request = self._dialect.request(stored, credentials, int(time.time()))
            except UntranslatableError as error:
                return f"not posted: {error}", False
            started = time.perf_counter()
            try:
                assert self._session is not None
                async with self._session.post(
                    self._url, data=request.body, headers=request.headers, params=request.query, allow_redirects=False
                ) as answer:
                    await answer.read()
                    milliseconds = (time.perf_counter() - started) * 1000
                    return f"{answer.status}  {milliseconds:.0f} ms", answer.status in self._dialect.success
            except aiohttp.ClientConnectorError as error:
                if not is_waiting:
                    typer.echo(f"crossdock: waiting for {self._url}: {error.os_error or error}", err=True)
                is_waiting = True
                await asyncio.sleep(PAUSE)
            except (aiohttp.ClientError, TimeoutError) as error:
                return f"no answer: {str(error) or type(error).__name__}", False


def _event(event: "CloudEvent") -> "Event | None":
    """Return an event of the log as dialects take it; None if it has no data."""
    import base64
    from datetime import datetime

    from msgspec import UNSET

    from schemas.outbound import Event

    _, platform, account = event.source.split("/", 2)
    if event.data is not UNSET:
        data: bytes | None = bytes(event.data)
        raw = data or b""
    elif event.data_base64 is not UNSET:
        data, raw = None, base64.b64decode(event.data_base64)
    else:
        return None
    return Event(
        id=event.id,
        platform=platform,
        account=account,
        type=event.type,
        key=event.subject,
        version=event.version,
        received_at=datetime.fromisoformat(event.time),
        traceparent=None if event.traceparent is UNSET else event.traceparent,
        raw=raw,
        data=data,
    )


async def _listen(url: str, chosen: Chosen, forwarder: Forwarder | None) -> None:
    """Show and forward events until a signal. Raises CommandError and aiormq's errors."""
    from broker.eventlog import EventLog

    async with AsyncExitStack() as stack:
        if forwarder is not None:
            await stack.enter_async_context(forwarder)
            typer.echo(f"crossdock: {forwarder.introduction()}", err=True)
        log = await stack.enter_async_context(EventLog(url, "next"))
        await until_stopped(log, _follow(log, chosen, forwarder))


async def _follow(log: "EventLog", chosen: Chosen, forwarder: Forwarder | None) -> None:
    """Show and forward events as they arrive."""
    import msgspec

    from schemas import cloudevents

    await opened(log)
    typer.echo("crossdock: listening; Ctrl-C ends it", err=True)
    async with aclosing(log.read()) as batches:
        async for entries in batches:
            for entry in entries:
                if not chosen.has(entry.body):
                    continue
                try:
                    event = cloudevents.decode(entry.body)
                except msgspec.DecodeError as error:
                    raise CommandError(f"an event of the log cannot be read: {error}") from None
                outcome = None if forwarder is None else await forwarder.post(event)
                typer.echo(line(event, outcome))


def line(event: "CloudEvent", outcome: tuple[str, bool] | None) -> str:
    """Return what is printed of an event: its time (UTC), type, key and account, and what came of posting it."""
    text = printable(f"{event.time[11:23]}  {event.type}  {event.subject}  {event.source.removeprefix('/')}")
    if outcome is None:
        return text
    words, is_delivered = outcome
    color = typer.colors.GREEN if is_delivered else typer.colors.RED
    return f"{text}  {typer.style(printable(words), fg=color)}"
