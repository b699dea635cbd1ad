"""`crossdock topology`: declares and checks exchanges and queues. `crossdock asyncapi`: documents them."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli import output, servers
from deploy.cli.commands import Commands
from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, ConfigFile, Management, State
from deploy.cli.output import print_result

if TYPE_CHECKING:
    from schemas.topology import Topology

app = Commands(help="Declare and check exchanges and queues.")


@app.command()
def apply(
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Also unbind what another number of [store] shards needed: once every ingress has the new one.",
        ),
    ] = False,
    management: Management = None,
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Declare what is missing on the broker. Safe to repeat; no message is ever deleted.

    Waits for queues whose leader is still starting. A queue with the delivery limit of an earlier release is declared
    again once our queues are empty and no worker consumes them. A log whose retention differs from the configuration
    is changed by a policy, which needs RabbitMQ's management API (--management).
    """

    expected, url = _declared(config), servers.amqp_url(state)
    left = asyncio.run(_apply(url, expected, management, prune=prune))
    counts = {"exchanges": len(expected.exchanges), "queues": len(expected.queues), "bindings": len(expected.bindings)}
    in_place = f"in place: {', '.join(f'{count} {name}' for name, count in counts.items())}"
    print_result({**counts, "left": left}, as_json, in_place, *left)


async def _apply(url: str, expected: "Topology", management: str | None, *, prune: bool) -> list[str]:
    """Declare the topology and return what is left to do, one line each."""
    from broker import retention, topology
    from broker.management import Management as Api
    from schemas.topology import EVENTS_LOG

    api = Api(management) if management else None
    applied = await topology.apply(url, expected)
    left = applied.notes
    if how := await retention.apply(url, expected, applied.of(EVENTS_LOG), api):
        left.append(how)
    return left + (await topology.prune(url, expected) if prune else [])


@app.command()
def check(config: ConfigFile = None, state: State = None, as_json: AsJson = False) -> None:
    """Show what is missing or different on the broker. Changes nothing; exits with code 1 if anything is."""
    from broker import topology

    problems, notes = asyncio.run(topology.inspect(servers.amqp_url(state), _declared(config)))
    if problems and not as_json:
        raise CommandError("; ".join(problems))
    print_result({"problems": problems, "notes": notes}, as_json, "exchanges and queues are as declared", *notes)
    raise typer.Exit(1 if problems else 0)


@app.command()
def export(
    vhost: Annotated[str, typer.Option("--vhost", metavar="NAME", help="Virtual host of the definitions.")] = "/",
    rabbitmq: Annotated[
        int,
        typer.Option("--rabbitmq", metavar="N", min=3, max=99, help="Major version of the server that imports them."),
    ] = 3,
    config: ConfigFile = None,
) -> None:
    """Print RabbitMQ definitions as JSON for `rabbitmqctl import_definitions`. Needs no broker.

    They are for RabbitMQ 3.x; `--rabbitmq 4` writes those for 4.x, where "no delivery limit" must be declared.
    """
    from broker import definitions

    output.print_json(definitions.export(vhost, _declared(config), major=rabbitmq))


def asyncapi() -> None:
    """Print the AsyncAPI 3.0 document of the queues as JSON. Needs no broker."""
    from schemas.asyncapi.document import document

    output.print_json(document())


def _declared(config: Path | None) -> "Topology":
    """Return the exchanges and queues that the configuration needs."""
    from deploy import config as configuration
    from schemas.topology import topology

    loaded = configuration.load(config, process="topology")
    return topology(loaded.events, shards=loaded.store.shards)
