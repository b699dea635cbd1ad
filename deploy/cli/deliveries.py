"""`crossdock deliveries`: shows and controls webhooks to subscribers."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple
from uuid import UUID

import typer

from deploy.cli import deliveries_many, output, servers
from deploy.cli.commands import Commands
from deploy.cli.deliveries_many import STATUSES
from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, Limit, State, Yes, parse_key, parse_uuid
from deploy.cli.output import moment, print_listing, print_result
from deploy.cli.recording import record

if TYPE_CHECKING:
    from ingress.api.shapes import Delivery, DeliveryWithAttempts
    from storage.deliveries import Selection

app = Commands(help="Show and control webhooks to subscribers.")

Id = Annotated[str, typer.Argument(metavar="ID", help="Delivery ID, as shown by `deliveries list`.")]
OptionalId = Annotated[
    str | None,
    typer.Argument(metavar="[ID]", help="Delivery ID, as shown by `deliveries list`.", show_default=False),
]
All = Annotated[bool, typer.Option("--all", help="All deliveries that match; shows how many and asks first.")]
OfSubscription = Annotated[
    str | None, typer.Option("--subscription", metavar="ID", help="With --all: only of this subscription.")
]
OfType = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="With --all: only of this event type.")]
OfAccount = Annotated[
    str | None,
    typer.Option("--account", metavar="A", help="With --all: only of this account, such as channelape/rothys."),
]
OfKey = Annotated[str | None, typer.Option("--key", metavar="KEY", help="With --all: only of this business key.")]
Since = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="With --all: ended at or after this time; created, if pending."),
]
Until = Annotated[
    str | None,
    typer.Option("--to", metavar="TIME", help="With --all: ended before this time; created, if pending."),
]
HINT = "`crossdock deliveries list` shows them"


class Filters(NamedTuple):
    """What narrows `--all`, as it was typed."""

    status: str | None
    subscription: str | None
    type: str | None
    account: str | None
    key: str | None
    begin: str | None
    end: str | None

    def selection(self) -> "Selection":
        """Return the filter. Raises BadParameter."""
        return deliveries_many.selection(
            status=self.status,
            subscription=self.subscription,
            type_=self.type,
            account=self.account,
            key=self.key,
            begin=self.begin,
            end=self.end,
        )


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
def retry(
    id: OptionalId = None,
    everything: All = False,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help=f"With --all: only this status, {', '.join(STATUSES)}.")
    ] = None,
    subscription: OfSubscription = None,
    type_: OfType = None,
    account: OfAccount = None,
    key: OfKey = None,
    begin: Since = None,
    end: Until = None,
    yes: Yes = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Send a delivery again now, whatever its status; with --all, all deliveries of a status that match."""
    filters = Filters(status, subscription, type_, account, key, begin, end)
    if not _is_many(id, everything, filters):
        _control("retry", id or "", state, as_json)
        return
    result = asyncio.run(deliveries_many.act(state, "retry", filters.selection(), ask=not yes))
    failed = f", {result['failed']} cannot be sent any more" if result["failed"] else ""
    print_result(result, as_json, f"{result['retried']} sent again{failed}")


@app.command()
def cancel(
    id: OptionalId = None,
    everything: All = False,
    subscription: OfSubscription = None,
    type_: OfType = None,
    account: OfAccount = None,
    key: OfKey = None,
    begin: Since = None,
    end: Until = None,
    yes: Yes = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Stop sending a delivery; with --all, all that wait and match. One that has ended keeps its status."""
    filters = Filters(None, subscription, type_, account, key, begin, end)
    if not _is_many(id, everything, filters):
        _control("cancel", id or "", state, as_json)
        return
    chosen = filters._replace(status="pending").selection()
    result = asyncio.run(deliveries_many.act(state, "cancel", chosen, ask=not yes))
    print_result(result, as_json, f"{result['cancelled']} cancelled")


def _is_many(id_: str | None, everything: bool, filters: Filters) -> bool:
    """Return whether all that match are meant, and not one. Raises BadParameter."""
    if id_ is not None and everything:
        raise typer.BadParameter("either an ID or --all, not both")
    if not everything and any(value is not None for value in filters):
        raise typer.BadParameter("filters go with --all")
    if id_ is None and not everything:
        raise typer.BadParameter("name the delivery, or give --all with filters")
    return everything


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

    async with servers.database(state) as connection, connection.transaction():
        act = deliveries.retry if action == "retry" else deliveries.cancel
        try:
            row = await act(connection, id_, None)
        except deliveries.RefusedError as error:
            raise CommandError(f"delivery {id_} cannot be sent again: {error}") from None
        if row is None:
            raise _missing(id_)
        await record(connection, f"deliveries.{action}", subject=str(id_), count=1)
    return msgspec.convert(row, Delivery)


def _missing(id_: UUID) -> CommandError:
    return CommandError(f"there is no delivery {id_}: {HINT}")
