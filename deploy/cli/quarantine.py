"""`crossdock quarantine`: authentic messages that could not be processed."""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, ConfigFile, State
from deploy.cli.selection import warn_of_accounts

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel
    from asyncpg import Connection, Record

    from storage.quarantine import Selection

app = typer.Typer(
    help="Handle messages that could not be processed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
CONFIRM_TIMEOUT = 10.0

Id = Annotated[str, typer.Argument(metavar="ID", help="Message ID, as shown by `quarantine list`.")]
STAGES = ("unreadable", "refused", "failed", "unrouted")
Stage = Annotated[
    str | None, typer.Option("--stage", metavar="S", help=f"Only messages of this stage: {', '.join(STAGES)}.")
]
Account = Annotated[
    str | None,
    typer.Option("--account", metavar="A", help="Only messages of this account, such as rothys or channelape/rothys."),
]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Only messages with this text in their reason.")
]
All = Annotated[bool, typer.Option("--all", help="All waiting messages that match; shows how many and asks first.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Message IDs.", show_default=False)]


@app.command("list")
def list_(
    everything: Annotated[
        bool, typer.Option("--all", help="Also show messages that were replayed or discarded.")
    ] = False,
    stage: Stage = None,
    account: Account = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Show at most N.")] = 100,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List the messages that wait for a person, newest first."""
    from deploy.cli import output

    rows = asyncio.run(_list(state, _selection(stage, account, reason), everything, limit))
    if as_json:
        output.print_json([dict(row) for row in rows])
        return
    if not rows:
        typer.echo("nothing in quarantine")
        return
    shown = [
        (
            output.moment(row["received_at"]),
            f"{row['platform']}/{row['account']}\n{row['event']}",
            f"{row['id']}{_fate(row)}\n{row['stage']}{_tries(row['attempts'])}: {row['reason']}",
        )
        for row in rows
    ]
    output.print_table(("received (UTC)", "webhook", "id, and why"), shown)


@app.command()
def show(
    id: Id,
    raw: Annotated[bool, typer.Option("--raw", help="Print only the body, byte for byte.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show everything that is known about one message, then its body."""
    from deploy.cli import output

    row = asyncio.run(_show(state, _uuid(id)))
    if row is None:
        raise CommandError(f"no message {id} in quarantine: `crossdock quarantine list --all` shows what there is")
    body = bytes(row["raw"])
    if raw:
        sys.stdout.buffer.write(body)
        return
    if as_json:
        output.print_json({**row, "raw": body, "raw_base64": base64.b64encode(body).decode()})
        return
    about = [
        (name, output.moment(value) if name.endswith("_at") else str(value))
        for name, value in row.items()
        if name != "raw" and value is not None
    ]
    output.print_table(("", ""), about)
    typer.echo()
    typer.echo(output.printable(body.decode("utf-8", "backslashreplace")))


@app.command()
def replay(
    ids: Ids = None,
    stage: Stage = None,
    account: Account = None,
    reason: Reason = None,
    everything: All = False,
    yes: Yes = False,
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Publish messages again, as they were received, to where they were addressed.

    A message that fails again returns to quarantine with its new reason. Safe to interrupt: messages that were not
    confirmed stay on the list, and another replay continues with them.
    """
    from deploy import config as configuration
    from deploy.cli import output

    selection = _wanted(ids, stage, account, reason, everything)
    shards = configuration.store_shards(config)
    done = asyncio.run(_replay(state, [_uuid(one) for one in ids or ()], selection, shards, _question(everything, yes)))
    if as_json:
        output.print_json({"replayed": done})
    else:
        typer.echo(f"{len(done)} replayed")


@app.command()
def discard(
    ids: Ids = None,
    stage: Stage = None,
    account: Account = None,
    reason: Reason = None,
    everything: All = False,
    yes: Yes = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Take messages off the list. Their bytes are kept."""
    from deploy.cli import output

    selection = _wanted(ids, stage, account, reason, everything)
    wanted = [_uuid(one) for one in ids or ()]
    done = asyncio.run(_discard(state, wanted, selection, _question(everything, yes)))
    missing = [one for one in wanted if one not in done]
    if as_json:
        output.print_json({"discarded": done})
    elif done or not wanted:
        typer.echo(f"{len(done)} discarded")
    if missing:
        names = ", ".join(map(str, missing))
        raise CommandError(f"not waiting in quarantine: {names}; `crossdock quarantine list` shows what is")


def _wanted(
    ids: list[str] | None, stage: str | None, account: str | None, reason: str | None, everything: bool
) -> "Selection | None":
    """Return the filter that selects the messages, or None if they are named by ID."""
    filtered = any(one is not None for one in (stage, account, reason))
    if ids and everything:
        raise typer.BadParameter("either ids or --all, not both")
    if ids and filtered:
        raise typer.BadParameter("either ids or filters, not both")
    if not ids and not filtered and not everything:
        raise typer.BadParameter("name the messages, or give --all, --stage, --account or --reason")
    return None if ids else _selection(stage, account, reason)


def _selection(stage: str | None, account: str | None, reason: str | None) -> "Selection":
    from storage.quarantine import Selection

    if stage is not None and stage not in STAGES:
        raise typer.BadParameter(f"{stage!r} is none of {', '.join(STAGES)}", param_hint="--stage")
    if account is not None:
        account = account.strip()
        if "*" in account:
            raise typer.BadParameter(f"{account!r}: write rothys or channelape/rothys", param_hint="--account")
        warn_of_accounts([account], "--account")
    platform, _, name = (account or "").rpartition("/")
    return Selection(stage=stage, platform=platform or None, account=name or None, reason=reason or None)


def _question(everything: bool, yes: bool) -> bool:
    """Return whether the number of messages has to be confirmed."""
    return everything and not yes


def _confirm(count: int, what: str) -> None:
    """Print how many messages are meant and ask. Raises CommandError unless the answer is yes."""
    try:
        agreed = typer.confirm(f"{count} messages would be {what}. Go on?", err=True)
    except typer.Abort:
        agreed = False
    if not agreed:
        raise CommandError(f"nothing was {what}: answer y, or give --yes")


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        hint = "a message id is a UUID: `crossdock quarantine list` shows them"
        raise typer.BadParameter(f"{text!r} is none, {hint}", param_hint="ID") from None


def _fate(row: "Record") -> str:
    return "".join(f"  ({name})" for name in ("replayed", "discarded") if row[f"{name}_at"] is not None)


def _tries(attempts: int) -> str:
    return f", {attempts} attempts" if attempts else ""


async def _list(state: Path | None, selection: "Selection", everything: bool, limit: int) -> "list[Record]":
    from deploy.cli import servers
    from storage import quarantine

    async with servers.database(state) as connection:
        return await quarantine.entries(connection, everything=everything, limit=limit, selection=selection)


async def _show(state: Path | None, id_: UUID) -> "Record | None":
    from deploy.cli import servers
    from storage import quarantine

    async with servers.database(state) as connection:
        return await quarantine.show(connection, id_)


async def _discard(state: Path | None, ids: list[UUID], selection: "Selection | None", ask: bool) -> list[UUID]:
    """Discard the named messages that wait, and return them."""
    from deploy.cli import servers
    from storage import quarantine

    done: list[UUID] = []
    async with servers.database(state) as connection:
        if selection is None:
            return await quarantine.discard_all(connection, ids)
        if ask:
            _confirm(await quarantine.count_open(connection, selection), "discarded")
        async for page in quarantine.pages(connection, selection):
            done += await quarantine.discard_all(connection, [id_ for id_, _ in page])
    return done


async def _replay(
    state: Path | None, ids: list[UUID], selection: "Selection | None", shards: int, ask: bool
) -> list[UUID]:
    """Replay messages and return them. Named messages are looked up before the first is published."""
    from deploy.cli import servers
    from storage import quarantine

    done: list[UUID] = []
    async with servers.database(state) as connection, servers.broker(state) as channel:
        if selection is None:
            sizes = await quarantine.sizes(connection, ids)
            unknown = [str(id_) for id_ in ids if id_ not in sizes]
            if unknown:
                raise CommandError(f"not in quarantine: {', '.join(unknown)}; nothing was replayed")
            count = len(sizes)
        else:
            count = await quarantine.count_open(connection, selection)
            if ask:
                _confirm(count, "replayed")
        try:
            async for page in _pages(connection, ids, selection):
                for piece in quarantine.pieces(page):
                    done += await _publish(connection, channel, piece, shards, again=selection is None)
        except Exception as error:
            raise CommandError(f"{len(done)} of {count} replayed, then: {_refusal(error)}") from error
    return done


async def _pages(
    connection: "Connection[Any]", ids: list[UUID], selection: "Selection | None"
) -> AsyncIterator[list[tuple[UUID, int]]]:
    from storage import quarantine

    if selection is None:
        sizes = await quarantine.sizes(connection, ids)
        yield [(id_, sizes[id_]) for id_ in dict.fromkeys(ids) if id_ in sizes]
        return
    async for page in quarantine.pages(connection, selection):
        yield page


async def _publish(
    connection: "Connection[Any]", channel: "AbstractChannel", ids: Sequence[UUID], shards: int, *, again: bool
) -> list[UUID]:
    """Publish one chunk and mark it, in one transaction, which commits when the broker has confirmed all of it.

    A process that dies in between leaves the chunk on the list, to be replayed once more, which changes nothing. If a
    message fails again, the store worker waits for the commit and then puts it back on the list.
    """
    from storage import quarantine

    async with connection.transaction():
        rows = await quarantine.lock(connection, ids, again=again)
        locked = [row["id"] for row in rows]
        await quarantine.mark_all_replayed(connection, locked)
        async with asyncio.TaskGroup() as sending:
            for row in rows:
                sending.create_task(_send(channel, row, shards))
    return locked


async def _send(channel: "AbstractChannel", row: "Record", shards: int) -> None:
    """Publish a message under its own ID to where it was addressed; with several shards, to the one that stores it."""
    from schemas import envelope, topology

    about = envelope.Envelope(
        message_id=str(row["id"]),
        platform=row["platform"],
        account=row["account"],
        event=row["event"],
        received_at=row["received_at"],
        content_type=row["content_type"],
        traceparent=row["traceparent"],
    )
    properties = envelope.to_properties(about)
    if shards > 1:
        properties.headers = {**(properties.headers or {}), "BCC": [topology.shard_key(about.message_id, shards)]}
    await channel.basic_publish(
        bytes(row["raw"]),
        exchange=topology.INBOUND,
        routing_key=row["routing_key"] or topology.inbound_key(about.platform, about.account, about.event),
        properties=properties,
        mandatory=True,
        timeout=CONFIRM_TIMEOUT,
    )


def _refusal(error: BaseException) -> str:
    from broker import outgoing
    from deploy.cli.errors import explain

    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return explain(error) or str(outgoing.explain(error))
