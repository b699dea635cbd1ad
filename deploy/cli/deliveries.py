"""`crossdock deliveries` and `crossdock replay`: webhooks to subscribers, seen and steered by an operator."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, ConfigFile, State

app = typer.Typer(help="Show and control webhooks to subscribers.", no_args_is_help=True, rich_markup_mode=None)

Id = Annotated[str, typer.Argument(metavar="ID", help="Delivery ID, as shown by `deliveries list`.")]
STATUSES = ("pending", "delivered", "failed", "cancelled", "superseded")


@app.command("list")
def list_(
    subscription: Annotated[
        str | None, typer.Option(metavar="ID", help="Show only deliveries of this subscription.")
    ] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help=f"Show only this status: {', '.join(STATUSES)}.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Show only this business key.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Show at most N.")] = 100,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first."""
    from deploy.cli import output

    if status is not None and status not in STATUSES:
        raise typer.BadParameter(f"--status is one of {', '.join(STATUSES)}")
    wanted = None if subscription is None else _uuid(subscription)
    rows = asyncio.run(_list(state, wanted, status, key, limit))
    if as_json:
        output.print_json(rows)
        return
    if not rows:
        typer.echo("no deliveries")
        return
    shown = [
        (
            output.moment(row["created_at"]),
            f"{row['type']}\n{row['key']}",
            f"{row['status']}, {row['attempts']} attempts",
            str(row["id"]),
        )
        for row in rows
    ]
    output.print_table(("made (UTC)", "event", "status", "id"), shown)


@app.command()
def show(id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Show one delivery with all its attempts."""
    from deploy.cli import output

    found = asyncio.run(_show(state, _uuid(id)))
    if as_json:
        output.print_json(found)
        return
    _print(found)


@app.command()
def retry(id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Send a delivery again now, whatever its status."""
    _steer("retry", id, state, as_json)


@app.command()
def cancel(id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Stop sending a delivery. One that has ended keeps its status."""
    _steer("cancel", id, state, as_json)


def replay(
    subscription: Annotated[str, typer.Option("--subscription", metavar="ID", help="Subscription to send to.")],
    begin: Annotated[
        str,
        typer.Option("--from", metavar="TIME", help="Received at or after this time, such as 2026-11-21T08:00:00Z."),
    ],
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Received before this time; now by default.")
    ] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="PATTERN", help="Only events of this type; repeatable.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Only events with this business key.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print how many events would be sent.")] = False,
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Send stored events again to one subscription. Ctrl-C ends the display, not the replay, which keeps `max_rate`."""
    from deploy import config as configuration
    from deploy.cli import output

    since, until = _time("--from", begin), datetime.now(UTC) if end is None else _time("--to", end)
    if until <= since:
        raise typer.BadParameter("--to must be after --from")
    loaded = configuration.load(config)
    asked = (_uuid(subscription), since, until, types, key, dry_run)
    found = asyncio.run(_replay(state, loaded.subscribers, asked, quiet=as_json))
    if as_json:
        output.print_json(found)
    elif dry_run:
        typer.echo(f"{_many(found)} events would be sent")
    else:
        typer.echo(f"{_many(found)} events are sent again: replay {found['replay_id']}")


def _many(found: dict[str, Any]) -> str:
    """Return the number of events as text; counting stops at a bound."""
    return f"at least {found['count']}" if found.get("at_least") else str(found["count"])


def _steer(what: str, id_: str, state: Path | None, as_json: bool) -> None:
    from deploy.cli import output

    found = asyncio.run(_steered(state, _uuid(id_), what))
    if as_json:
        output.print_json(found)
    else:
        typer.echo(f"{found['id']} is {found['status']}")


def _print(found: dict[str, Any]) -> None:
    from deploy.cli import output

    about = [
        (name, output.moment(value) if name.endswith("_at") else str(value))
        for name, value in found.items()
        if name != "history" and value is not None
    ]
    output.print_table(("", ""), about)
    if found["history"]:
        typer.echo()
        rows = [
            (
                output.moment(one["at"], fraction=True),
                str(one["attempt"]),
                f"{one['outcome']} {one['status_code'] or ''}".strip(),
                f"{one['duration_ms']:.1f} ms",
                output.printable(one["error"] or one["response"][:200]),
            )
            for one in found["history"]
        ]
        output.print_table(("at (UTC)", "attempt", "outcome", "took", "said"), rows)


async def _list(
    state: Path | None, subscription: UUID | None, status: str | None, key: str | None, limit: int
) -> list[dict[str, Any]]:
    from deploy.cli import servers
    from storage import deliveries

    async with servers.database(state) as connection:
        return await deliveries.listing(
            connection, subscriber=None, subscription=subscription, status=status, key=key, limit=limit
        )


async def _show(state: Path | None, id_: UUID) -> dict[str, Any]:
    from deploy.cli import servers
    from storage import deliveries

    async with servers.database(state) as connection:
        found = _there(await deliveries.get(connection, id_, None), id_)
        return {**found, "history": await deliveries.attempts(connection, id_)}


async def _steered(state: Path | None, id_: UUID, what: str) -> dict[str, Any]:
    from deploy.cli import servers
    from storage import deliveries

    async with servers.database(state) as connection:
        act = deliveries.retry if what == "retry" else deliveries.cancel
        try:
            return _there(await act(connection, id_, None), id_)
        except deliveries.RefusedError as refused:
            raise CommandError(f"delivery {id_} cannot be sent again: {refused}") from None


async def _replay(state: Path | None, subscribers: Any, asked: Any, *, quiet: bool) -> dict[str, Any]:
    from deploy.cli import servers
    from schemas.dialects import get_dialect
    from storage import replays, subscriptions

    subscription, since, until, types, key, dry_run = asked
    async with servers.database(state) as connection:
        found = await subscriptions.get(connection, subscription, None)
        if found is None:
            raise CommandError(f"there is no subscription {subscription}: look into the view crossdock.subscriptions")
        subscriber = subscribers.get(found.subscriber)
        allowed = ["*"] if not found.subscriber else list(subscriber.accounts) if subscriber else []
        said = get_dialect(found.dialect).types
        narrow = replays.narrowed(list(found.types), types or list(found.types))
        if narrow is None:
            raise CommandError(f"--type must be within the subscription's: {', '.join(found.types)}")
        scope = replays.Scope(narrow, list(found.accounts), allowed, None if said is None else sorted(said))
        counted = await replays.count(connection, scope, begin=since, end=until, key=key)
        count, more = counted.count, {} if counted.is_exact else {"at_least": True}
        if dry_run or (counted.is_exact and not count):
            return {"replay_id": None, "count": count, **more}
        name = await replays.ask(connection, subscription, types=narrow, begin=since, end=until, key=key, count=count)
        if not quiet:
            await _watch(connection, name, count)
    return {"replay_id": str(name), "count": count, **more}


async def _watch(connection: Any, name: UUID, count: int) -> None:
    """Show a progress bar until everything is sent, or until a minute passes without progress."""
    from rich.progress import Progress

    from storage import replays

    moved, before = time.monotonic(), -1
    with Progress(transient=True) as progress:
        bar = progress.add_task("sent", total=count)
        while time.monotonic() - moved < 60:
            state = await replays.progress(connection, name)
            if state is None:
                return
            count, written, waiting = state
            sent = written - waiting
            progress.update(bar, completed=sent, total=count)
            if sent >= count:
                return
            if sent != before:
                moved, before = time.monotonic(), sent
            await asyncio.sleep(0.2)
    typer.echo("nothing has been sent for a minute: is `crossdock worker deliver` running?", err=True)


def _there(found: dict[str, Any] | None, id_: UUID) -> dict[str, Any]:
    if found is None:
        raise CommandError(f"there is no delivery {id_}: `crossdock deliveries list` shows what there is")
    return found


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not an ID") from None


def _time(option: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option}: write a time as in 2026-11-21T08:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
