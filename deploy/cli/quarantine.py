"""`crossdock quarantine`: authentic messages that could not be processed."""

import asyncio
import base64
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from deploy.cli.errors import Failed
from deploy.cli.options import AsJson, State

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel
    from asyncpg import Connection, Record

app = typer.Typer(help="Messages that could not be processed.", no_args_is_help=True, rich_markup_mode=None)
CONFIRM_TIMEOUT = 10.0

Id = Annotated[str, typer.Argument(metavar="ID", help="Message id, as `quarantine list` shows it.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Message ids.", show_default=False)]


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Replayed and discarded ones too.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = 100,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """What waits for a person, newest first."""
    from deploy.cli import output

    rows = asyncio.run(_list(state, everything, limit))
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
            f"{row['id']}{_fate(row)}\n{row['reason']}",
        )
        for row in rows
    ]
    output.print_table(("received (UTC)", "webhook", "id, and why"), shown)


@app.command()
def show(
    id: Id,
    raw: Annotated[bool, typer.Option("--raw", help="The body alone, byte for byte.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """One message, whole: what is known of it, then its body."""
    from deploy.cli import output

    row = asyncio.run(_show(state, _uuid(id)))
    if row is None:
        raise Failed(f"no message {id} in quarantine: `crossdock quarantine list --all` shows what there is")
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
    everything: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Publishes messages again, as they were received. What fails again is back with its new reason."""
    from deploy.cli import output

    if bool(ids) == everything:
        raise typer.BadParameter("name the messages, or give --all" if not ids else "either ids or --all, not both")
    done = asyncio.run(_replay(state, None if everything else [_uuid(one) for one in ids or ()]))
    if as_json:
        output.print_json({"replayed": done})
    else:
        typer.echo(f"{len(done)} replayed")


@app.command()
def discard(ids: Ids = None, state: State = None, as_json: AsJson = False) -> None:
    """Takes messages off the list; their bytes are kept."""
    from deploy.cli import output

    if not ids:
        raise typer.BadParameter("name the messages")
    wanted = [_uuid(one) for one in ids]
    missing = asyncio.run(_discard(state, wanted))
    if as_json:
        output.print_json({"discarded": [one for one in wanted if one not in missing]})
    elif len(missing) < len(wanted):
        typer.echo(f"{len(wanted) - len(missing)} discarded")
    if missing:
        names = ", ".join(map(str, missing))
        raise Failed(f"not waiting in quarantine: {names}; `crossdock quarantine list` shows what is")


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        hint = "a message id is a UUID: `crossdock quarantine list` shows them"
        raise typer.BadParameter(f"{text!r} is none, {hint}", param_hint="ID") from None


def _fate(row: "Record") -> str:
    return "".join(f"  ({name})" for name in ("replayed", "discarded") if row[f"{name}_at"] is not None)


async def _list(state: Path | None, everything: bool, limit: int) -> "list[Record]":
    from deploy.cli import servers
    from storage import quarantine

    async with servers.database(state) as connection:
        return await quarantine.entries(connection, everything=everything, limit=limit)


async def _show(state: Path | None, id_: UUID) -> "Record | None":
    from deploy.cli import servers
    from storage import quarantine

    async with servers.database(state) as connection:
        return await quarantine.show(connection, id_)


async def _discard(state: Path | None, ids: Sequence[UUID]) -> list[UUID]:
    """Those that could not be discarded, because they don't wait."""
    from deploy.cli import servers
    from storage import quarantine

    async with servers.database(state) as connection:
        return [id_ for id_ in ids if not await quarantine.discard(connection, id_)]


async def _replay(state: Path | None, wanted: list[UUID] | None) -> list[UUID]:
    """None: all that wait. Those named are looked up before the first is published."""
    from deploy.cli import servers
    from storage import quarantine

    async with servers.database(state) as connection, servers.broker(state) as channel:
        ids = await quarantine.open_ids(connection) if wanted is None else list(dict.fromkeys(wanted))
        if wanted is not None:
            unknown = [str(id_) for id_ in ids if await quarantine.show(connection, id_) is None]
            if unknown:
                raise Failed(f"not in quarantine: {', '.join(unknown)}; nothing was replayed")
        for done, id_ in enumerate(ids):
            try:
                await _publish(connection, channel, id_)
            except Exception as error:
                raise Failed(f"{done} of {len(ids)} replayed, then: {_refusal(error)}") from error
        return ids


async def _publish(connection: "Connection[Any]", channel: "AbstractChannel", id_: UUID) -> None:
    """Marked and published in one transaction, which commits when the broker has confirmed the message.

    A death in between leaves it on the list, to be replayed once more, which changes nothing. Should the message fail
    again, the store worker waits for the commit and then puts it back on the list.
    """
    from schemas import envelope, topology
    from storage import quarantine

    row = await quarantine.show(connection, id_)
    assert row is not None
    about = envelope.Envelope(
        message_id=str(id_),
        platform=row["platform"],
        account=row["account"],
        event=row["event"],
        received_at=row["received_at"],
        content_type=row["content_type"],
        traceparent=row["traceparent"],
    )
    async with connection.transaction():
        await quarantine.mark_replayed(connection, id_)
        await channel.basic_publish(
            bytes(row["raw"]),
            routing_key=topology.STORE,
            properties=envelope.to_properties(about),
            mandatory=True,
            timeout=CONFIRM_TIMEOUT,
        )


def _refusal(error: Exception) -> str:
    from broker import outgoing
    from deploy.cli.errors import explain

    return explain(error) or str(outgoing.explain(error))
