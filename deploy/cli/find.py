"""`crossdock find`: what has a number, an article or an id that a person has in hand."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from deploy.cli import output, servers
from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, State
from deploy.cli.output import moment

if TYPE_CHECKING:
    from storage.find import DocumentMatch, FindResult

T = TypeVar("T")


def find(
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT",
            help="Business key, number of an order, transfer, carton, shipment, parcel, receipt or customer, SKU or "
            "article, or the id of a message, event, delivery, subscription or quarantined message.",
        ),
    ],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Find documents by any of their numbers, and everything else by its id.

    The text is compared exactly; only blanks at its ends are ignored. Of the documents that hold an article or share a
    number, the newest 50 are shown.
    """
    from storage import find as lookup

    if not lookup.normalized(text):
        raise typer.BadParameter("nothing can have this text", param_hint="TEXT")
    result = servers.run_on_database(state, lambda connection: lookup.find(connection, text))
    if result.is_empty:
        raise unknown(text)
    if as_json:
        output.print_json(result)
        return
    _print(result)


def unknown(text: str) -> CommandError:
    """Return the error for a text that nothing has."""
    return CommandError(
        f"nothing is known of {text!r}: it was never accepted, or it is older than [storage] retention_days"
    )


def _print(result: "FindResult") -> None:
    """Print a table of each kind of thing that the text is."""
    _table(
        "documents",
        ("received (UTC)", "document", "account", "matches as"),
        result.documents,
        lambda row: (moment(row.received_at), f"{row.type}\n{_name(row)}", row.account, ", ".join(row.matched)),
    )
    _table(
        "event",
        ("received (UTC)", "document", "account", "version"),
        result.events,
        lambda row: (moment(row.received_at), f"{row.type}\n{row.key}", row.account, str(row.version)),
    )
    _table(
        "message",
        ("received (UTC)", "document", "account"),
        result.messages,
        lambda row: (moment(row.received_at), f"{row.type}\n{row.key}", row.account),
    )
    _table(
        "delivery",
        ("created (UTC)", "event", "status", "subscription"),
        result.deliveries,
        lambda row: (
            moment(row.created_at),
            f"{row.type}\n{row.key}",
            f"{row.status}, {row.attempts} attempts",
            str(row.subscription_id),
        ),
    )
    _table(
        "subscription",
        ("created (UTC)", "subscriber", "URL", "state"),
        result.subscriptions,
        lambda row: (
            moment(row.created_at),
            row.subscriber or "operator",
            row.url,
            "deleted" if row.deleted_at else "enabled" if row.enabled else "disabled",
        ),
    )
    _table(
        "quarantine",
        ("received (UTC)", "event", "stage", "reason"),
        result.quarantine,
        lambda row: (
            moment(row.received_at),
            f"{row.platform}/{row.account}\n{row.event}",
            "replayed" if row.replayed_at else "discarded" if row.discarded_at else row.stage,
            row.reason,
        ),
    )
    if result.incomplete_before is not None:
        typer.echo(
            f"What was received before {moment(result.incomplete_before)} UTC is still being indexed: until then it is "
            "only found by its key and order numbers."
        )


def _name(document: "DocumentMatch") -> str:
    """Return the document's key, with its order number if that is another."""
    if document.order_number is None or document.order_number == document.key:
        return document.key
    return f"{document.key} (order {document.order_number})"


def _table(title: str, columns: Sequence[str], rows: Sequence[T], cells: Callable[[T], Sequence[str]]) -> None:
    """Print rows under a title, unless there are none."""
    if rows:
        output.print_table(columns, map(cells, rows), title=title)
        typer.echo()
