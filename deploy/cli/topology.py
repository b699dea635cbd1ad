"""`crossdock topology`: exchanges and queues."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.errors import Failed
from deploy.cli.options import AsJson, ConfigFile, State

if TYPE_CHECKING:
    from schemas.topology import Topology

app = typer.Typer(help="Exchanges and queues.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def apply(
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Also unbind what another number of [store] shards needed: once every ingress has the new one.",
        ),
    ] = False,
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Declares what is missing. Safe to repeat; no queue is ever deleted."""
    from broker import topology
    from deploy.cli import output, servers

    there, url = _wanted(config), servers.amqp_url(state)
    asyncio.run(topology.apply(url, there))
    left = asyncio.run(topology.prune(url, there)) if prune else []
    counts = {"exchanges": len(there.exchanges), "queues": len(there.queues), "bindings": len(there.bindings)}
    if as_json:
        output.print_json({**counts, "left": left})
    else:
        typer.echo(f"in place: {', '.join(f'{count} {name}' for name, count in counts.items())}")
        for line in left:
            typer.echo(line)


@app.command()
def check(config: ConfigFile = None, state: State = None, as_json: AsJson = False) -> None:
    """What is missing or different on the broker. Changes nothing; exit code 1 if anything is."""
    from broker import topology
    from deploy.cli import output, servers

    problems = asyncio.run(topology.check(servers.amqp_url(state), _wanted(config)))
    if as_json:
        output.print_json({"problems": problems})
    elif problems:
        raise Failed("; ".join(problems))
    else:
        typer.echo("exchanges and queues are as they should be")
    raise typer.Exit(1 if problems else 0)


@app.command()
def export(
    vhost: Annotated[str, typer.Option("--vhost", metavar="NAME", help="Virtual host of the definitions.")] = "/",
    config: ConfigFile = None,
) -> None:
    """RabbitMQ definitions as JSON, for `rabbitmqctl import_definitions`. Asks no broker."""
    from broker import topology
    from deploy.cli import output

    output.print_json(topology.export(vhost, _wanted(config)))


def _wanted(config: Path | None) -> "Topology":
    from deploy import config as configuration
    from schemas.topology import topology

    loaded = configuration.load(config)
    return topology(loaded.events, shards=loaded.store.shards)
