"""`crossdock quarantine`: authentic messages that could not be processed."""

from typing import Annotated
from uuid import UUID

import asyncpg
import typer

from deploy.cli.shared import AsJson, Failed, State, amqp_url, database_url, failing, print_json, print_table, run

app = typer.Typer(help="Authentic messages that could not be processed.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Message id, as `quarantine list` shows it.")]


@app.command("list")
@failing
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Replayed and discarded ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1)] = 100,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """What waits for a person, newest first."""
    rows = run(_list(database_url(state), everything, limit))
    if as_json:
        print_json([dict(row) for row in rows])
        return
    columns = ("id", "received_at", "platform", "account", "event", "reason")
    shown = [(row["id"], f"{row['received_at']:%Y-%m-%d %H:%M:%S}", *(row[c] for c in columns[2:])) for row in rows]
    print_table("quarantine", columns, shown, "nothing in quarantine")


@app.command()
@failing
def show(id: Id, state: State = None, as_json: AsJson = False) -> None:
    """One message, whole."""
    row = run(_show(database_url(state), _uuid(id)))
    if row is None:
        raise Failed(f"no message {id} in quarantine: `crossdock quarantine list --all` shows what there is")
    if as_json:
        print_json(dict(row))
        return
    for name, value in row.items():
        if name != "raw" and value is not None:
            typer.echo(f"{name:<13} {value}")
    typer.echo("")
    typer.echo(bytes(row["raw"]).decode("utf-8", "backslashreplace"))


@app.command()
@failing
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Message ids.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Publishes them again, as they were received. What fails again comes back with its new reason."""
    if not ids and not everything:
        raise typer.BadParameter("name the messages, or give --all")
    wanted = None if everything else [_uuid(one) for one in ids or []]
    done = run(_replay(database_url(state), amqp_url(state), wanted))
    if as_json:
        print_json({"replayed": done})
    else:
        typer.echo(f"{len(done)} replayed")


@app.command()
@failing
def discard(id: Id, state: State = None) -> None:
    """Takes it off the list; the bytes are kept."""
    if not run(_discard(database_url(state), _uuid(id))):
        raise Failed(f"no message {id} waits in quarantine: `crossdock quarantine list` shows what does")
    typer.echo("discarded")


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Failed(f"{text!r} is no message id: `crossdock quarantine list` shows them") from None


async def _list(url: str, everything: bool, limit: int) -> list[asyncpg.Record]:
    from storage import quarantine

    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await quarantine.entries(connection, everything=everything, limit=limit)
    finally:
        await connection.close()


async def _show(url: str, id_: UUID) -> asyncpg.Record | None:
    from storage import quarantine

    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await quarantine.show(connection, id_)
    finally:
        await connection.close()


async def _discard(url: str, id_: UUID) -> bool:
    from storage import quarantine

    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await quarantine.discard(connection, id_)
    finally:
        await connection.close()


async def _replay(url: str, amqp: str, wanted: list[UUID] | None) -> list[UUID]:
    """Marked and published in one transaction, committed after the confirm.

    A death in between leaves it on the list, to be replayed once more, which changes nothing. Should it fail again,
    the store worker waits for the commit and puts it back.
    """
    import aiormq

    from broker.connection import addresses
    from schemas import envelope, topology
    from schemas.envelope import Envelope
    from storage import quarantine

    connection = await asyncpg.connect(url, timeout=10)
    broker = await aiormq.connect(addresses(amqp)[0])
    try:
        channel = await broker.channel()
        done: list[UUID] = []
        for id_ in wanted if wanted is not None else await quarantine.open_ids(connection):
            row = await quarantine.show(connection, id_)
            if row is None:
                raise Failed(f"no message {id_} in quarantine; {len(done)} were replayed before it")
            about = Envelope(
                message_id=str(id_),
                platform=row["platform"],
                account=row["account"],
                event=row["event"],
                received_at=row["received_at"],
                content_type=row["content_type"],
                traceparent=row["traceparent"],
            )
            key = topology.inbound_key(about.platform, about.account, about.event)
            async with connection.transaction():
                await quarantine.mark_replayed(connection, id_)
                await channel.basic_publish(
                    bytes(row["raw"]),
                    exchange=topology.INBOUND,
                    routing_key=key,
                    properties=envelope.to_properties(about),
                    mandatory=True,
                    timeout=10,
                )
            done.append(id_)
        return done
    finally:
        await broker.close()
        await connection.close()
