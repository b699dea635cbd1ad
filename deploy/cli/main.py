"""The `crossdock` command. Each group of commands has a module beside this one; heavy imports wait for the call."""

import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from deploy import streams
from deploy.cli import (
    check,
    consume,
    consumers,
    deliveries,
    erase,
    errors,
    find,
    jobs,
    listen,
    migrate,
    processes,
    quarantine,
    replay,
    route,
    send,
    status,
    subscriptions,
    topology,
    trace,
    transfers,
)
from deploy.cli.commands import Commands, takes_texts

app = Commands(
    name="crossdock",
    help="Receive order and supply-chain webhooks, queue and store them, and send them on to subscribers.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("up")(processes.up)
app.command("ingress")(processes.ingress)
app.command("api")(processes.api)
app.command("console")(processes.console)
app.add_typer(processes.worker, name="worker")
app.command("migrate")(migrate.migrate)
app.command("roles")(migrate.roles)
app.add_typer(topology.app, name="topology")
app.command("send")(send.send)
app.command("find")(find.find)
app.command("trace")(trace.trace)
app.command("transfers")(transfers.transfers)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(subscriptions.app, name="subscriptions")
app.add_typer(jobs.app, name="jobs")
app.command("actions")(jobs.actions)
app.command("replay")(replay.replay)
app.command("erase")(erase.erase)
app.command("consume")(consume.consume)
app.command("listen")(listen.listen)
app.add_typer(consumers.app, name="consumers")
app.add_typer(route.app, name="route")
app.command("asyncapi")(topology.asyncapi)
app.command("status")(status.status)
app.command("check")(check.check)

INTERRUPTED = 130
"""The exit code that typer returns after Ctrl-C."""


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"crossdock {installed('crossdock')}")
        raise typer.Exit


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0, 1 after a failure, 2 after wrong usage. Errors are one line."""
    streams.open_missing()
    logging.basicConfig(level=logging.CRITICAL)  # errors are printed once, below
    code = _run(args)
    unwritten = streams.flush()
    return code if unwritten is None or code else _fail(errors.explain(unwritten) or str(unwritten), 1)


def _run(args: Sequence[str] | None) -> int:
    """Run one command line, print its error, and return its exit code."""
    try:
        code = typer.main.get_command(app).main(args=args, prog_name="crossdock", standalone_mode=False)
    except TyperException as error:
        return _usage_error(error)
    except Exception as error:
        text = errors.explain(error)
        if text is None:
            raise
        return _fail(text, 1)
    if code == INTERRUPTED:
        return _fail("interrupted", 1)
    return code if isinstance(code, int) else 0


def _usage_error(error: TyperException) -> int:
    """Print a usage error, or the help that lists the commands if the command is missing; return the exit code."""
    text = error.format_message()
    if len(text.splitlines()) > 1:
        typer.echo(text, err=True)
        return error.exit_code
    context = getattr(error, "ctx", None)
    hints = []
    if context and type(error).__name__ == "NoSuchOption" and takes_texts(context.command):
        hints.append("a text that begins with a hyphen comes after --")
    if context:
        hints.append(f"`{context.command_path} --help` shows what is accepted")
    return _fail(text.rstrip(".") + (f" ({'; '.join(hints)})" if hints else ""), error.exit_code)


def _fail(text: str, code: int) -> int:
    """Print an error and return the exit code."""
    typer.echo(f"crossdock: {text}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
