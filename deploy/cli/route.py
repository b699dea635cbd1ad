"""`crossdock route explain`: shows where an order's items would go, and why."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli import output
from deploy.cli.commands import Commands
from deploy.cli.errors import CommandError, reason
from deploy.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.route.answers import Explanation

app = Commands(help="Explain the routing rules of accounts.")


@app.callback()
def _group() -> None:
    """Keep `explain` a subcommand although it is the only one."""


@app.command()
def explain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File with an order as its platform posts it.")],
    account: Annotated[str, typer.Option("--account", metavar="A", help="Account whose rules are applied.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show for each item which rule decides, and why the rules before it do not."""
    import msgspec

    from deploy import config as configuration
    from schemas.platform import UnreadableError
    from workers.route import answers

    accounts = configuration.load(config, process="route").accounts
    rules_by_platform = {name: answerer.rules for name, answerer in answers.answerers().items() if answerer.rules}
    platform = next((name for name in rules_by_platform if account in accounts.get(name, {})), None)
    if platform is None:
        known = [name for platform in rules_by_platform for name in accounts.get(platform, {})]
        raise CommandError(
            f"no account {account!r} of {' or '.join(rules_by_platform)} is configured; "
            f"known: {', '.join(known) or 'none'}"
        )
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise CommandError(f"the order can't be read: {reason(error)}") from None
    try:
        explained = rules_by_platform[platform].explain(accounts[platform][account], raw)
    except UnreadableError as error:
        raise CommandError(f"{file} is not an order: {error}") from None
    if as_json:
        output.print_json(msgspec.to_builtins(explained))
    else:
        text = "\n\n".join("\n".join(lines(item)) for item in explained)
        typer.echo(output.printable(text) or "the order has no items")


def lines(item: "Explanation") -> "Iterator[str]":
    """Return the explanation of one item, one line per rule."""
    where = f"to {item.destination}" if item.destination else "without an address"
    measured = f", measured from {item.place}" if item.place else ""
    yield f"item {item.item}  {item.name}, {item.units or 'an unknown number of'} units, {where}{measured}"
    for step in item.steps:
        yield f"  {step.rule}: {'matches' if step.matched else 'no, ' + '; '.join(step.reasons)}"
        for manufacturer, distance in step.distances.items():
            yield f"    {manufacturer}: {distance:,.0f} km"
    detail = f" ({item.detail})" if item.detail else ""
    yield f"  → {item.manufacturer or 'can’t be produced'}, by {item.rule}{detail}"
