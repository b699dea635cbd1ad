"""`crossdock deliveries`: shows and controls webhooks to subscribers."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from deploy.cli import output, servers
from deploy.cli.commands import Commands
from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, Limit, State, parse_key, parse_uuid
from deploy.cli.output import moment, print_listing, print_result

if TYPE_CHECKING:
    from ingress.api.shapes import Delivery, DeliveryWithAttempts

app = Commands(help="Show and control webhooks to subscribers.")

Id = Annotated[str, typer.Argument(metavar="ID", help="Delivery ID, as shown by `deliveries list`.")]
STATUSES = ("pending", "delivered", "failed", "cancelled", "superseded")
HINT = "`crossdock deliveries list` shows them"


@app.command("list")
def list_(
    subscription: Annotated[
        str | None, typer.Option(metavar="ID", help="Show only deliveries of this subscription.")
    ] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help=f"Show only this status: {', '.join(STATUSES)}.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Show only this business key.")] = None,
    limit: Limit = 100,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first."""
    import msgspec

    from ingress.api.shapes import Delivery
    from storage import deliveries

    if status is not None and status not in STATUSES:
        raise typer.BadParameter(f"{status!r} is not one of {', '.join(STATUSES)}", param_hint="--status")
    key = parse_key(key, "--key")
    hint = "the view crossdock.subscriptions shows them"
    id_ = None if subscription is None else parse_uuid(subscription, "--subscription", hint)
    rows = servers.run_on_database(
        state,
        lambda connection: deliveries.listing(
            connection, subscriber=None, subscription=id_, status=status, key=key, limit=limit
        ),
    )
    print_listing(
        msgspec.convert(rows, list[Delivery]),
        as_json,
        columns=("created (UTC)", "event", "status", "id"),
        cells=lambda row: (
            moment(row.created_at),
            f"{row.type}\n{row.key}",
            f"{row.status}, {row.attempts} attempts",
            str(row.id),
        ),
        empty="no deliveries",
    )


@app.command()
def show(id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Show one delivery with all its attempts."""
    import msgspec

    delivery = asyncio.run(_show(state, parse_uuid(id, "ID", HINT)))
    if as_json:
        output.print_json(delivery)
        return
    output.print_fields({name: value for name, value in msgspec.structs.asdict(delivery).items() if name != "history"})
    if delivery.history:
        typer.echo()
        rows = [
            (
                output.moment(attempt.at, fraction=True),
                str(attempt.attempt),
                f"{attempt.outcome} {attempt.status_code or ''}".strip(),
                f"{attempt.duration_ms:.1f} ms",
                attempt.error or attempt.response[:200],
            )
            for attempt in delivery.history
        ]
        output.print_table(("at (UTC)", "attempt", "outcome", "took", "response"), rows)


@app.command()
def retry(id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Send a delivery again now, whatever its status."""
    _control("retry", id, state, as_json)


@app.command()
def cancel(id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Stop sending a delivery. One that has ended keeps its status."""
    _control("cancel", id, state, as_json)


def _control(action: str, id_: str, state: Path | None, as_json: bool) -> None:
    delivery = asyncio.run(_act(state, parse_uuid(id_, "ID", HINT), action))
    print_result(delivery, as_json, f"{delivery.id} is {delivery.status}")


async def _show(state: Path | None, id_: UUID) -> "DeliveryWithAttempts":
    import msgspec

    from ingress.api.shapes import DeliveryWithAttempts
    from storage import deliveries

    async with servers.database(state) as connection:
        row = await deliveries.get(connection, id_, None)
        if row is None:
            raise _missing(id_)
        history = await deliveries.attempts(connection, id_)
    return msgspec.convert({**row, "history": history}, DeliveryWithAttempts)


async def _act(state: Path | None, id_: UUID, action: str) -> "Delivery":
    import msgspec

    from ingress.api.shapes import Delivery
    from storage import deliveries

    async with servers.database(state) as connection:
        act = deliveries.retry if action == "retry" else deliveries.cancel
        try:
            row = await act(connection, id_, None)
        except deliveries.RefusedError as error:
            raise CommandError(f"delivery {id_} cannot be sent again: {error}") from None
    if row is None:
        raise _missing(id_)
    return msgspec.convert(row, Delivery)


def _missing(id_: UUID) -> CommandError:
    return CommandError(f"there is no delivery {id_}: {HINT}")
