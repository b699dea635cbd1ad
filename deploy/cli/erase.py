"""`crossdock erase`: removes personal data for good."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli import servers
from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, State, Yes, confirm, parse_key, parse_time
from deploy.cli.output import print_json, print_table
from deploy.cli.recording import recorded
from deploy.cli.selection import warn_of_accounts

if TYPE_CHECKING:
    from storage.database import Connection
    from storage.erasure import Selection

LOG = (
    "crossdock.events.log holds what was published until `[events] log_max_age` has passed; queues of consumers, until "
    "they are read"
)


def erase(
    platform: Annotated[str, typer.Option("--platform", metavar="P", help="Platform, such as channelape.")],
    account: Annotated[str, typer.Option("--account", metavar="A", help="Account of the platform, such as rothys.")],
    key: Annotated[
        str | None, typer.Option("--key", metavar="K", help="Documents with this business key, of every event type.")
    ] = None,
    order_number: Annotated[
        str | None, typer.Option("--order-number", metavar="N", help="Documents with this order number.")
    ] = None,
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="TIME", help="Everything received before this time, 2026-11-21T08:00:00Z."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be erased.")] = False,
    yes: Yes = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Erase bodies, names, addresses, and what subscribers answered. It cannot be undone.

    Keys, versions, times, articles and quantities stay, with the flag `erased`. Safe to interrupt and to repeat: a
    store worker finishes what was begun.
    """
    selection = _selection(platform, account, key, order_number, before)
    asyncio.run(_erase(state, selection, dry_run=dry_run, ask=not yes, as_json=as_json))


def _selection(
    platform: str, account: str, key: str | None, order_number: str | None, before: str | None
) -> "Selection":
    """Return what the options select. Raises BadParameter."""
    from schemas import registry
    from storage.erasure import Selection

    if platform not in registry.platforms():
        known = ", ".join(registry.platforms())
        raise typer.BadParameter(f"{platform!r} is not one of {known}", param_hint="--platform")
    if sum(value is not None for value in (key, order_number, before)) != 1:
        raise typer.BadParameter("give exactly one of --key, --order-number and --before")
    warn_of_accounts([f"{platform}/{account}"], "--account")
    return Selection(
        platform=platform,
        account=account,
        key=parse_key(key, "--key"),
        order_number=parse_key(order_number, "--order-number"),
        before=_past(before),
    )


def _past(text: str | None) -> datetime | None:
    """Return the time of `--before`. Raises BadParameter if it is in the future."""
    if text is None:
        return None
    time = parse_time(text, "--before")
    if time > datetime.now(time.tzinfo):
        raise typer.BadParameter(f"{text!r} is in the future", param_hint="--before")
    return time


async def _erase(state: Path | None, selection: "Selection", *, dry_run: bool, ask: bool, as_json: bool) -> None:
    from storage import erasure

    async with servers.database(state) as connection:
        counts = await erasure.count(connection, selection)
        report: dict[str, object] = {"would_erase" if dry_run else "erased": counts, "log": LOG}
        total = sum(counts.values())
        if not total:
            await _check_selection(connection, selection)
        if not as_json and total:
            print_table(("table", "rows"), [(name, rows) for name, rows in counts.items() if rows], right=("rows",))
        if not dry_run:
            if total and ask:
                confirm(f"{counts['documents']} documents ({total} rows)", "erased", " for good")
            # Also if nothing is left to count: an erasure that was interrupted is finished.
            async with recorded(
                connection, "documents.erase", subject=_subject(selection), count=counts["documents"]
            ) as tally:
                await erasure.run(connection, await erasure.start(connection, selection))
                tally.done = counts["documents"]
        report["queues"] = queues = await _queues(state, connection)
    if as_json:
        print_json(report)
        return
    typer.echo(f"{'would be erased' if dry_run else 'erased'}: {counts['documents']} documents, {total} rows in all")
    if queues is None:
        typer.echo("queues could not be listed, because RabbitMQ is unavailable: `crossdock status` shows them")
    elif queues:
        typer.echo("These queues hold messages, which may be about what is erased:")
        print_table(("queue", "messages"), list(queues.items()), right=("messages",))
    typer.echo(f"{LOG}.")


def _subject(selection: "Selection") -> str:
    """Return what is erased, as it is recorded."""
    what = (
        f"key {selection.key}"
        if selection.key
        else f"order number {selection.order_number}"
        if selection.order_number
        else f"received before {selection.before:%Y-%m-%d %H:%M:%S} UTC"
    )
    return f"{what} ({selection.platform}/{selection.account})"


async def _check_selection(connection: "Connection", selection: "Selection") -> None:
    """Raise CommandError if no document has the key or order number, which was probably mistyped."""
    from storage import erasure

    name = selection.key or selection.order_number
    if name is not None and not await erasure.selects_documents(connection, selection):
        raise CommandError(
            f"no document of {selection.platform}/{selection.account} has {name!r} as its "
            f"{'business key' if selection.key else 'order number'}: `crossdock trace {name}` finds it by other numbers"
        )


async def _queues(state: Path | None, connection: "Connection") -> dict[str, int] | None:
    """Return the queues that hold messages, with their numbers; None if RabbitMQ is unavailable."""
    from broker import topology
    from broker.declare import TopologyError
    from storage import consumers

    registered = [row.consumer for row in await consumers.listing(connection)]
    names = [name for consumer in registered for name in (consumer.queue, consumer.dead)]
    try:
        depths = await topology.depths(servers.amqp_url(state), names)
    except (CommandError, TopologyError, OSError, TimeoutError):
        return None
    return {name: messages for name, (messages, _) in sorted(depths.items()) if messages or name in names}
