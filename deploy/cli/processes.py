"""`crossdock up`, and the commands that run one process each, for containers and service managers."""

import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy import state as states
from deploy.cli.commands import Commands
from deploy.cli.errors import CommandError, reason
from deploy.cli.options import AdminPort, ConfigFile, Port, State

if TYPE_CHECKING:
    from deploy.process import Component
    from schemas.config import Config
    from storage.vault import Vault

worker = Commands(help="Run one worker process.")


def up(config: ConfigFile = None, state: State = None, port: Port = None) -> None:
    """Run everything on this machine in the foreground. Ctrl-C ends it."""
    from deploy import config as configuration
    from deploy.local.up import run_up
    from telemetry import logs

    loaded = configuration.load(config)
    logs.setup("warning", configuration.secrets_of(loaded))
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # our own error reports a refused connection
    for host in loaded.ingress.hosts:
        _check_port(host, loaded.ingress.port if port is None else port)

    def write(text: str) -> None:
        typer.echo(text)
        sys.stdout.flush()  # a program that waits for `ready` may read it through a pipe

    run_up(config, states.folder(state), port, write)


def _check_port(host: str, port: int) -> None:
    """Raise CommandError if the port is taken, before the servers are started."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CommandError(f"can't listen on {host}: {reason(error)}; correct [ingress] host") from None
    family, kind, _, _, address = infos[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(address)
        except OSError as error:
            shown = f"[{host}]" if ":" in host else host
            raise CommandError(f"can't listen on {shown}:{port}: {reason(error)}; choose another with --port") from None


def ingress(
    config: ConfigFile = None,
    port: Port = None,
    admin_port: AdminPort = None,
    one_of_many: Annotated[bool, typer.Option("--one-of-many", hidden=True)] = False,
) -> None:
    """Run the webhook server: verify, publish, answer. Starts `[ingress] processes` processes on one port."""
    from deploy import config as configuration

    count = configuration.load(config, process="ingress").ingress.processes
    if count > 1 and not one_of_many:
        from deploy.local.many import run_many

        _amqp_url()
        raise typer.Exit(run_many(config, port, admin_port, count))
    from ingress.hooks.app import IngressApp

    amqp = _amqp_url()
    _run("ingress", lambda loaded: IngressApp(loaded, amqp_url=amqp, port=port), config, admin_port)


@worker.command()
def store(
    shards: Annotated[
        list[int] | None,
        typer.Option("--shard", min=0, max=63, help="Consume only this inbound queue; repeatable.", metavar="N"),
    ] = None,
    config: ConfigFile = None,
    admin_port: AdminPort = None,
) -> None:
    """Decode and store messages, and publish what has been stored."""
    from workers.store.worker import StoreWorker

    amqp, database = _amqp_url(), _database_url()
    _run(
        "store",
        lambda loaded: StoreWorker(loaded, amqp_url=amqp, database_url=database, shards=shards),
        config,
        admin_port,
    )


@worker.command()
def route(config: ConfigFile = None, admin_port: AdminPort = None) -> None:
    """Answer requests whose senders wait, such as shoppers at a checkout."""
    from workers.route.worker import RouteWorker

    amqp = _amqp_url()
    _run("route", lambda loaded: RouteWorker(loaded, amqp_url=amqp), config, admin_port)


@worker.command()
def deliver(config: ConfigFile = None, admin_port: AdminPort = None) -> None:
    """Send webhooks to subscribers."""
    from workers.deliver.worker import DeliverWorker

    database, vault = _database_url(), _vault()
    _run("deliver", lambda loaded: DeliverWorker(loaded, database_url=database, vault=vault), config, admin_port)


def api(config: ConfigFile = None, port: Port = None, admin_port: AdminPort = None) -> None:
    """Run the API for subscribers and operators."""
    from ingress.api.app import ApiApp

    database, vault = _database_url(), _vault()
    _run("api", lambda loaded: ApiApp(loaded, database_url=database, vault=vault, port=port), config, admin_port)


def console(config: ConfigFile = None, port: Port = None, admin_port: AdminPort = None) -> None:
    """Run the pages for operators."""
    from deploy import process
    from ingress.console.app import ConsoleApp, NoOperatorError

    database, vault = _database_url(), _vault()
    amqp = _amqp_url() if os.environ.get("AMQP_URL", "").strip() else None
    token = process.console_token()

    def build(loaded: "Config") -> ConsoleApp:
        return ConsoleApp(loaded, database_url=database, vault=vault, amqp_url=amqp, console_token=token, port=port)

    try:
        _run("console", build, config, admin_port)
    except NoOperatorError as error:
        raise CommandError(str(error)) from None


@worker.command()
def poll(config: ConfigFile = None, admin_port: AdminPort = None) -> None:
    """Fetch the orders of customers who cannot post webhooks."""
    from workers.poll.worker import PollWorker

    amqp, database = _amqp_url(), _database_url()
    _run("poll", lambda loaded: PollWorker(loaded, amqp_url=amqp, database_url=database), config, admin_port)


def _run(name: str, build: "Callable[[Config], Component]", config: Path | None, admin_port: int | None) -> None:
    from deploy import process

    raise typer.Exit(process.run(name, build, config_path=config, admin_port=admin_port))


def _vault() -> "Vault":
    from deploy import process
    from storage.vault import Vault

    try:
        return Vault.from_text(process.encryption_key())
    except ValueError as error:
        raise CommandError(str(error)) from None


def _amqp_url() -> str:
    from deploy import process
    from deploy.cli.servers import check_amqp_url

    return check_amqp_url(process.amqp_url())


def _database_url() -> str:
    from deploy import process
    from deploy.cli.servers import check_database_url

    return check_database_url(process.database_url())
