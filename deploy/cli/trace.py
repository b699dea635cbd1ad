"""`crossdock trace`: the whole life of one order, in the order it happened."""

from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli import find, output, servers
from deploy.cli.options import AsJson, State
from deploy.cli.output import moment, print_table

if TYPE_CHECKING:
    from storage.timeline import Moment


def trace(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Business key, or any text that `crossdock find` takes.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show the whole life of one order.

    Every receipt, what was stored, its versions, allocation, queue messages and delivery attempts, and its messages in
    quarantine.
    """
    import msgspec

    from storage import timeline
    from storage import trace as traces

    history = servers.run_on_database(state, lambda connection: traces.trace(connection, key))
    documents = msgspec.convert(history["documents"], list[timeline.Document])
    quarantined = msgspec.convert(history["quarantine"], list[timeline.QuarantinedMessage])
    if not documents and not quarantined:
        raise find.unknown(key)
    if as_json:
        for fields, document in zip(history["documents"], documents, strict=True):
            fields["messages"] = list(timeline.messages(document))
        output.print_json(history)
        return
    for document in documents:
        _print(
            f"{document.type}  {document.key}  ({document.platform}/{document.account})", timeline.timeline(document)
        )
    for message in quarantined:
        where = f"{message.platform}/{message.account} {message.event}"
        _print(f"quarantine  {where}  {message.id}", timeline.setbacks(message))


def _print(title: str, moments: "list[Moment]") -> None:
    from storage.timeline import since

    first = moments[0].at
    times = [moment(step.at, fraction=True) for step in moments]
    head = "time (UTC)"
    if len({time[:10] for time in times}) == 1:
        head, times = f"{times[0][:10]} UTC", [time[11:] for time in times]
    rows = [(time, since(step.at, first), step.what, step.detail) for time, step in zip(times, moments, strict=True)]
    print_table((head, "after", "", ""), rows, title=title, right=("after",))
    typer.echo()
