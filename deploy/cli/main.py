"""The `crossdock` command. Each group of commands is a module beside this one, imported when it is called."""

import logging
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli import inspect, operate, post, quarantine, topology
from deploy.cli.shared import failing

app = typer.Typer(
    name="crossdock",
    help="Order and supply-chain webhooks in, onto queues, out to manufacturers, databases and subscribers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
worker = typer.Typer(help="One worker process of one kind.", no_args_is_help=True)
app.add_typer(worker, name="worker")
app.add_typer(topology.app, name="topology")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(inspect.route, name="route")

ConfigFile = Annotated[Path | None, typer.Option("--config", help="Configuration file.", show_default="crossdock.toml")]
State = Annotated[Path | None, typer.Option("--state", help="State folder.", show_default=".crossdock")]
AdminPort = Annotated[int | None, typer.Option("--admin-port", help="Port of health and metrics; 0 is a free one.")]
Port = Annotated[int | None, typer.Option("--port", help="Port of the webhooks; 0 is a free one.")]

app.command()(failing(operate.migrate))
app.command()(failing(operate.status))
app.command()(failing(operate.check))
app.command()(failing(post.send))
app.command()(failing(inspect.trace))


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"crossdock {installed('crossdock')}")
        raise typer.Exit


@app.command()
@failing
def up(config: ConfigFile = None, state: State = None, port: Port = None) -> None:
    """Everything on this machine, in the foreground, on real servers of its own."""
    from deploy import config as configuration
    from deploy import logs
    from deploy.local.up import run_up

    loaded = configuration.load(config)
    logs.setup("warning", configuration.secrets_of(loaded))

    def say(text: str) -> None:
        typer.echo(text)
        sys.stdout.flush()

    run_up(config, state, port, say)


@app.command()
@failing
def ingress(
    config: ConfigFile = None,
    port: Port = None,
    admin_port: AdminPort = None,
    one_of_many: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """The webhook door. With `[ingress] processes` above 1, that many of them on one port."""
    from deploy import config as configuration
    from deploy import process

    count = configuration.load(config).ingress.processes
    if count > 1 and not one_of_many:
        from deploy.local.many import run_many

        raise typer.Exit(run_many(config, port, admin_port, count))
    from ingress.hooks.app import IngressApp

    amqp = process.amqp_url()
    code = process.run(
        lambda loaded: IngressApp(loaded, amqp_url=amqp, port=port), config_path=config, admin_port=admin_port
    )
    raise typer.Exit(code)


@worker.command()
@failing
def store(config: ConfigFile = None, admin_port: AdminPort = None) -> None:
    """Decodes and stores what comes in; publishes what it has stored."""
    from deploy import process
    from workers.store.worker import StoreWorker

    amqp, database = process.amqp_url(), process.database_url()
    code = process.run(
        lambda loaded: StoreWorker(loaded, amqp_url=amqp, database_url=database),
        config_path=config,
        admin_port=admin_port,
    )
    raise typer.Exit(code)


@worker.command("route")
@failing
def route_(config: ConfigFile = None, admin_port: AdminPort = None) -> None:
    """Answers senders that wait: uStore's shoppers, Apicbase's customers."""
    from deploy import process
    from workers.route.worker import RouteWorker

    amqp = process.amqp_url()
    code = process.run(lambda loaded: RouteWorker(loaded, amqp_url=amqp), config_path=config, admin_port=admin_port)
    raise typer.Exit(code)


def main() -> None:
    """Exit codes: 0, 1 failed, 2 wrong usage."""
    logging.basicConfig(level=logging.CRITICAL)  # what went wrong is said once, by us, in one line
    app()


if __name__ == "__main__":
    main()
