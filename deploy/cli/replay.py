"""`crossdock replay`: sends stored events again to one subscription."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple
from uuid import UUID

import typer

from deploy.cli import servers
from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, ConfigFile, State, parse_key, parse_time, parse_uuid
from deploy.cli.output import print_result
from deploy.cli.recording import record

if TYPE_CHECKING:
    from schemas.config import Config
    from storage.database import Connection
    from storage.replays import Scope

PATIENCE = 60.0
"""Seconds without progress after which the display ends."""
REDRAW = 0.2
"""Seconds between two updates of the display."""


class Request(NamedTuple):
    """What to send again: the events of a period, and to which subscription."""

    subscription: UUID
    begin: datetime
    end: datetime
    types: list[str] | None
    key: str | None
    dry_run: bool


class Result(NamedTuple):
    """A replay that was started, or the number of events that it would send."""

    replay_id: UUID | None
    events: int
    is_exact: bool
    """Whether all events were counted; counting stops at a limit."""


def replay(
    subscription: Annotated[
        str | None, typer.Option("--subscription", metavar="ID", help="Subscription to send to.")
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Received at or after this time, such as 2026-11-21T08:00:00Z."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Received before this time; now by default.")
    ] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="PATTERN", help="Only events of this type; repeatable.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Only events with this business key.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print how many events would be sent.")] = False,
    stop: Annotated[
        str | None,
        typer.Option("--stop", metavar="ID", help="Stop this replay instead, and cancel what waits of it."),
    ] = None,
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Send stored events again to one subscription. Ctrl-C ends the display, not the replay, which keeps `max_rate`."""
    from deploy import config as configuration

    if stop is not None:
        if subscription or begin or end or types or key or dry_run:
            raise typer.BadParameter("--stop takes no other selection")
        _stop(stop, state, as_json)
        return
    if subscription is None:
        raise typer.BadParameter("Missing option '--subscription'.")
    if begin is None:
        raise typer.BadParameter("Missing option '--from'.")
    since = parse_time(begin, "--from")
    until = datetime.now(UTC) if end is None else parse_time(end, "--to")
    if until <= since:
        raise typer.BadParameter("--to must be after --from")
    loaded = configuration.load(config, process="replay")
    id_ = parse_uuid(subscription, "--subscription", "the view crossdock.subscriptions shows them")
    request = Request(id_, since, until, types, parse_key(key, "--key"), dry_run)
    result = asyncio.run(_replay(state, loaded, request, quiet=as_json))
    events = f"{'' if result.is_exact else 'at least '}{result.events} events"
    if dry_run:
        text = f"{events} would be sent"
    else:
        text = f"{events} are sent again: replay {result.replay_id}" if result.replay_id else "no stored event matches"
    payload: dict[str, object] = {"replay_id": result.replay_id, "count": result.events}
    print_result(payload if result.is_exact else payload | {"at_least": True}, as_json, text)


def _stop(id_: str, state: Path | None, as_json: bool) -> None:
    """Stop a replay, and print how many of its deliveries were cancelled. Raises CommandError."""
    from storage import replays

    replay_id = parse_uuid(id_, "--stop", "`crossdock subscriptions show ID` shows them")

    async def stop(connection: "Connection") -> int | None:
        async with connection.transaction():
            cancelled = await replays.stop(connection, replay_id)
            if cancelled is not None:
                await record(connection, "replays.stop", subject=str(replay_id), count=cancelled)
        return cancelled

    cancelled = servers.run_on_database(state, stop)
    if cancelled is None:
        raise CommandError(f"there is no replay {replay_id}: `crossdock subscriptions show ID` shows them")
    payload = {"replay_id": replay_id, "cancelled": cancelled}
    print_result(payload, as_json, f"replay {replay_id} is stopped; {cancelled} of its deliveries are cancelled")


async def _replay(state: Path | None, loaded: "Config", request: Request, *, quiet: bool) -> Result:
    """Start a replay, and show its progress unless `quiet` is set."""
    from storage import replays

    async with servers.database(state) as connection:
        scope = await _scope(connection, loaded, request)
        begin, end = request.begin, request.end
        counted = await replays.count(connection, scope, begin=begin, end=end, key=request.key)
        if request.dry_run or (counted.is_exact and not counted.count):
            return Result(None, counted.count, counted.is_exact)
        async with connection.transaction():
            id_ = await replays.create(
                connection,
                request.subscription,
                types=scope.types,
                begin=begin,
                end=end,
                key=request.key,
                count=counted.count,
            )
            subject = str(request.subscription)
            await record(connection, "subscriptions.replay", subject=subject, count=counted.count)
        if not quiet:
            await _watch(connection, id_, counted.count)
    return Result(id_, counted.count, counted.is_exact)


async def _scope(connection: "Connection", loaded: "Config", request: Request) -> "Scope":
    """Return which events the subscription receives, limited to the requested types. Raises CommandError."""
    import msgspec

    from ingress import outbound
    from storage import replays, subscriptions

    row = await subscriptions.get(connection, request.subscription, None)
    if row is None:
        raise CommandError(
            f"there is no subscription {request.subscription}: the view crossdock.subscriptions shows them"
        )
    if not outbound.is_configured(loaded, row.subscriber):
        raise CommandError(
            f"the subscription's subscriber {row.subscriber!r} is not in this configuration, so that nothing would be "
            "sent: name the one of the running processes with --config"
        )
    types = replays.narrowed(list(row.types), request.types or list(row.types))
    if types is None:
        raise CommandError(f"--type must be within the subscription's: {', '.join(row.types)}")
    return msgspec.structs.replace(outbound.scope_of(loaded, row), types=types)


async def _watch(connection: "Connection", id_: UUID, count: int) -> None:
    """Show a progress bar until everything is sent, or until PATIENCE passes without progress."""
    from rich.progress import Progress

    from storage import replays

    moved, before = time.monotonic(), -1
    with Progress(transient=True) as progress:
        bar = progress.add_task("sent", total=count)
        while time.monotonic() - moved < PATIENCE:
            state = await replays.progress(connection, id_)
            if state is None:
                return
            count, written, waiting = state
            sent = written - waiting
            progress.update(bar, completed=sent, total=count)
            if sent >= count:
                return
            if sent != before:
                moved, before = time.monotonic(), sent
            await asyncio.sleep(REDRAW)
    typer.echo("nothing has been sent for a minute: is `crossdock worker deliver` running?", err=True)
