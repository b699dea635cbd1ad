"""`crossdock transfers`: stock transfer orders, first what is late."""

from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli import servers
from deploy.cli.options import AsJson, Limit, State, parse_key
from deploy.cli.output import moment, print_listing

if TYPE_CHECKING:
    from storage.transfer_listing import TransferRow

STATES = ("ordered", "in_transit", "partly_received", "received", "over_received")


def transfers(
    account: Annotated[str | None, typer.Option(metavar="A", help="Show only transfers of this account.")] = None,
    location: Annotated[
        str | None, typer.Option(metavar="L", help="Show only transfers from or to this location.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="STATE", help=f"Show only transfers in this state: {', '.join(STATES)}."),
    ] = None,
    late: Annotated[bool, typer.Option("--late", help="Show only late transfers.")] = False,
    outstanding: Annotated[
        bool, typer.Option("--outstanding", help="Show only transfers of which a line lacks something.")
    ] = False,
    disagreements: Annotated[
        bool, typer.Option("--disagreements", help="Show only transfers whose documents disagree.")
    ] = False,
    limit: Limit = 100,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List stock transfer orders: first the late ones, the longest first, then those with the newest activity."""
    from storage import transfer_listing
    from storage.transfer_listing import STATES as KNOWN
    from storage.transfer_listing import Selection

    chosen = next((known for known in KNOWN if known == status), None)
    if status is not None and chosen is None:
        raise typer.BadParameter(f"{status!r} is not one of {', '.join(KNOWN)}", param_hint="--status")
    selection = Selection(
        account=parse_key(account, "--account"),
        location=parse_key(location, "--location"),
        state=chosen,
        only="late" if late else "outstanding" if outstanding else "disagreements" if disagreements else None,
    )
    rows = servers.run_on_database(
        state, lambda connection: transfer_listing.listing(connection, selection, limit=limit)
    )
    print_listing(
        rows,
        as_json,
        columns=("due (UTC)", "order", "from → to", "state", "received", "outstanding", "what disagrees"),
        cells=_cells,
        empty="no transfers",
        right=("received", "outstanding"),
    )


def _cells(row: "TransferRow") -> tuple[str, ...]:
    from storage.progress import flag_words, quantity

    return (
        f"{moment(row.due_at)}{chr(10) + 'late' if row.late else ''}",
        f"{row.channel_order_id}\n{row.account}",
        f"{row.ship_from or '?'} → {row.ship_to or '?'}",
        row.state,
        f"{quantity(row.received)} of {quantity(row.ordered)}",
        quantity(row.outstanding),
        "\n".join(flag_words(row.flags)),
    )
