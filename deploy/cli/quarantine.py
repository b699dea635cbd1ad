"""`crossdock quarantine`: shows, replays and discards authentic messages that could not be processed."""

import asyncio
import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from deploy.cli import output, servers
from deploy.cli.commands import Commands
from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, ConfigFile, Limit, State, Yes, confirm, parse_uuid
from deploy.cli.output import moment, print_listing, print_result
from deploy.cli.recording import record, recorded
from deploy.cli.selection import warn_of_accounts

if TYPE_CHECKING:
    from storage.quarantine import Selection

app = Commands(
    help="Handle messages that could not be processed.",
)

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
Event = Annotated[str | None, typer.Option("--event", metavar="E", help="Only messages of this event.")]
All = Annotated[bool, typer.Option("--all", help="All waiting messages that match; shows how many and asks first.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Message IDs.", show_default=False)]


@app.command("list")
def list_(
    everything: Annotated[
        bool, typer.Option("--all", help="Also show messages that were replayed or discarded.")
    ] = False,
    stage: Stage = None,
    account: Account = None,
    reason: Reason = None,
    event: Event = None,
    limit: Limit = 100,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List the messages that wait for a person, newest first."""
    from storage import quarantine

    selection = _selection(stage, account, reason, event)
    rows = servers.run_on_database(
        state,
        lambda connection: quarantine.entries(connection, everything=everything, limit=limit, selection=selection),
    )
    print_listing(
        [dict(row) for row in rows],
        as_json,
        columns=("received (UTC)", "webhook", "id, and why"),
        cells=lambda row: (
            moment(row["received_at"]),
            f"{row['platform']}/{row['account']}\n{row['event']}",
            f"{row['id']}{_fate(row)}\n{row['stage']}{_tries(row['attempts'])}: {row['reason']}",
        ),
        empty="nothing in quarantine",
    )


@app.command()
def show(
    id: Id,
    raw: Annotated[bool, typer.Option("--raw", help="Print only the body, byte for byte.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show everything that is known about one message, then its body."""
    from storage import quarantine

    id_ = _uuid(id)
    row = servers.run_on_database(state, lambda connection: quarantine.show(connection, id_))
    if row is None:
        raise CommandError(f"no message {id} in quarantine: `crossdock quarantine list --all` shows them all")
    body = bytes(row["raw"])
    if raw:
        sys.stdout.buffer.write(body)
    elif as_json:
        output.print_json({**row, "raw": body, "raw_base64": base64.b64encode(body).decode()})
    else:
        output.print_fields({name: value for name, value in row.items() if name != "raw"})
        typer.echo()
        typer.echo(output.printable(body.decode("utf-8", "backslashreplace")))


@app.command()
def replay(
    ids: Ids = None,
    stage: Stage = None,
    account: Account = None,
    reason: Reason = None,
    event: Event = None,
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
    from deploy.cli.quarantine_replay import replay_messages

    selection = _chosen(ids, stage, account, reason, event, everything)
    shards = configuration.store_shards(config)
    named = [_uuid(text) for text in ids or ()]
    done = asyncio.run(replay_messages(state, named, selection, shards, ask=everything and not yes))
    print_result({"replayed": done}, as_json, f"{len(done)} replayed")


@app.command()
def discard(
    ids: Ids = None,
    stage: Stage = None,
    account: Account = None,
    reason: Reason = None,
    event: Event = None,
    everything: All = False,
    yes: Yes = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Take messages off the list. Their bytes are kept."""

    selection = _chosen(ids, stage, account, reason, event, everything)
    named = [_uuid(text) for text in ids or ()]
    done = asyncio.run(_discard(state, named, selection, ask=everything and not yes))
    if as_json or done or not named:
        print_result({"discarded": done}, as_json, f"{len(done)} discarded")
    missing = [id_ for id_ in named if id_ not in done]
    if missing:
        names = ", ".join(map(str, missing))
        raise CommandError(f"not waiting in quarantine: {names}; `crossdock quarantine list` shows what is")


def _chosen(
    ids: list[str] | None,
    stage: str | None,
    account: str | None,
    reason: str | None,
    event: str | None,
    everything: bool,
) -> "Selection | None":
    """Return the filter that selects the messages, or None if they are named by ID. Raises BadParameter."""
    is_filtered = any(value is not None for value in (stage, account, reason, event))
    if ids and everything:
        raise typer.BadParameter("either ids or --all, not both")
    if ids and is_filtered:
        raise typer.BadParameter("either ids or filters, not both")
    if not ids and not is_filtered and not everything:
        raise typer.BadParameter("name the messages, or give --all, --stage, --account, --event or --reason")
    return None if ids else _selection(stage, account, reason, event)


def _selection(stage: str | None, account: str | None, reason: str | None, event: str | None) -> "Selection":
    from storage.quarantine import Selection

    if stage is not None and stage not in STAGES:
        raise typer.BadParameter(f"{stage!r} is not one of {', '.join(STAGES)}", param_hint="--stage")
    if account is not None:
        account = account.strip()
        if "*" in account or not all(part.strip() for part in account.split("/")):
            raise typer.BadParameter(f"{account!r}: write rothys or channelape/rothys", param_hint="--account")
        warn_of_accounts([account], "--account")
    platform, _, name = (account or "").rpartition("/")
    return Selection(
        stage=stage, platform=platform or None, account=name or None, reason=reason or None, event=event or None
    )


def _uuid(text: str) -> UUID:
    return parse_uuid(text, "ID", "`crossdock quarantine list` shows them")


def _fate(row: "dict[str, object]") -> str:
    return "".join(f"  ({name})" for name in ("replayed", "discarded") if row[f"{name}_at"] is not None)


def _tries(attempts: int) -> str:
    return f", {attempts} attempts" if attempts else ""


async def _discard(state: Path | None, ids: list[UUID], selection: "Selection | None", *, ask: bool) -> list[UUID]:
    """Discard the named or the selected messages that wait, and return them."""
    from deploy.cli.quarantine_replay import subject_of
    from storage import quarantine

    done: list[UUID] = []
    async with servers.database(state) as connection:
        subject = subject_of(ids, selection)
        if selection is None:
            async with connection.transaction():
                if done := await quarantine.discard_all(connection, ids):
                    await record(connection, "quarantine.discard", subject=subject, count=len(done))
            return done
        count = await quarantine.count_open(connection, selection)
        if ask:
            confirm(f"{count} messages", "discarded")
        async with recorded(connection, "quarantine.discard", subject=subject, count=count) as tally:
            async for page in quarantine.pages(connection, selection):
                done += await quarantine.discard_all(connection, [id_ for id_, _ in page])
                tally.done = len(done)
    return done
