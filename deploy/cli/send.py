"""`crossdock send`: posts examples signed as the platform signs them, and prints statuses and latencies."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple
from uuid import uuid4

import typer

from deploy import state as states
from deploy.cli import output
from deploy.cli.errors import CommandError, reason
from deploy.cli.options import LARGEST, AsJson, ConfigFile, State
from deploy.cli.output import print_table, printable

if TYPE_CHECKING:
    from deploy.cli.load import Request, Summary
    from schemas.platform import Event, Platform

BAR_FROM = 20
"""Minimum number of posts for which a progress bar is shown."""


class ExampleChoice(NamedTuple):
    """The event and example that the EVENT argument stands for."""

    event: "Event"
    example: str


def send(
    platform: Annotated[str, typer.Argument(metavar="PLATFORM", help="apicbase, channelape, ecomnow, ustore, …")],
    event: Annotated[str, typer.Argument(metavar="EVENT", help="receipt_confirmation, new_order, …")],
    account: Annotated[
        str | None,
        typer.Option("--account", metavar="A", help="Account to post to.", show_default="the first one configured"),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="F", help="File with the body to post.", show_default="the example")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="U", help="URL of the ingress.", show_default="the running `crossdock up`'s"),
    ] = None,
    count: Annotated[
        int,
        typer.Option(
            "--count", metavar="N", min=1, max=LARGEST, help="Number of posts, each with its own business key."
        ),
    ] = 1,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="R", min=0.001, help="At most R posts per second.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, max=1000, help="Number of connections.")
    ] = 64,
    same: Annotated[bool, typer.Option("--same", help="Post the same document every time.")] = False,
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Post signed examples. Exits with code 1 if any was not answered 2xx; nothing is posted twice."""
    from schemas import registry

    sender = registry.platforms().get(platform)
    if sender is None:
        raise typer.BadParameter(f"{platform!r} is not one of {', '.join(registry.platforms())}", param_hint="PLATFORM")
    chosen = choose(sender, event)
    body = _read(file) if file else registry.example(platform, chosen.example)
    account, settings = _account(sender, account, config)
    base = _ingress(url, state)

    import uvloop

    from deploy.cli import load

    make = maker(sender, chosen.event, settings, body, with_new_key=count > 1 and not same)
    target = f"{base}/hooks/{platform}/{account}/{chosen.event.path}"
    summary = uvloop.run(load.post(target, make, count, rate, concurrency, bar=count >= BAR_FROM and not as_json))
    if as_json:
        import msgspec

        output.print_json(msgspec.to_builtins(summary))
    else:
        _print(summary)
    if not summary.all_accepted:
        raise typer.Exit(1)


def choose(platform: "Platform", name: str) -> ExampleChoice:
    """Return the event and the example that `name` stands for: the name of an example, an event or a type.

    Raises BadParameter with the possible names.
    """
    events = platform.events
    for event in events:
        if name in event.examples:
            return ExampleChoice(event, name)
    for event in events:
        if name == event.name:
            return ExampleChoice(event, event.examples[0])
    for event in events:
        for type_ in event.types:
            short = type_.removeprefix(f"{platform.name}.")
            if name in (type_, short):
                return ExampleChoice(event, short if short in event.examples else event.examples[0])
    names = dict.fromkeys(name for event in events for name in (event.name, *event.examples))
    raise typer.BadParameter(f"{name!r} is not one of {', '.join(names)}", param_hint="EVENT")


def maker(
    platform: "Platform", event: "Event", settings: object, body: bytes, *, with_new_key: bool
) -> "Callable[[], Request]":
    """Return a function that returns signed requests with `body`; `with_new_key` gives each its own business key."""
    from deploy.cli.load import Request

    def sign(raw: bytes) -> "Request":
        signed = platform.sign(raw, settings)
        return Request(raw, {"Content-Type": "application/json", **signed.headers}, signed.query)

    if not with_new_key or platform.with_new_key is None:
        request = sign(body)
        return lambda: request
    renew = platform.with_new_key
    return lambda: sign(renew(event.name, body, uuid4().hex))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CommandError(f"the body can't be read: {reason(error)}") from None


def _account(platform: "Platform", name: str | None, config: Path | None) -> tuple[str, object]:
    from deploy import config as configuration

    accounts = configuration.load(config, process="ingress").accounts.get(platform.name, {})
    if not accounts:
        raise CommandError(
            f"no account of {platform.name} is configured: add [accounts.{platform.name}.…], or give --config"
        )
    if name is None:
        name = next(iter(accounts))
    if name not in accounts:
        raise CommandError(f"no account {name!r} of {platform.name} is configured; known: {', '.join(accounts)}")
    return name, accounts[name]


def _ingress(url: str | None, state: Path | None) -> str:
    base = url or states.read_endpoints(state).ingress
    if not base:
        raise CommandError(f"no `crossdock up` runs on {states.folder(state)}: start one, or give --url or --state")
    if not base.startswith(("http://", "https://")):
        raise typer.BadParameter("write it like http://127.0.0.1:8080", param_hint="--url")
    return base.rstrip("/")


def _print(summary: "Summary") -> None:
    if summary.posted == 1:
        status = next(iter(summary.statuses))
        typer.echo(f"{status} in {summary.latency_ms['max']:.1f} ms  {printable(summary.answer)}")
        return
    counts = [(status, number) for status, number in sorted(summary.statuses.items())]
    print_table(("status", "posts"), counts, right=("posts",))
    typer.echo()
    latencies = ("ms", *(f"{ms:.1f}" for ms in summary.latency_ms.values()))
    print_table(("latency", *summary.latency_ms), [latencies], right=tuple(summary.latency_ms))
    typer.echo(f"\n{summary.posted} posted in {summary.seconds:.1f} s, {summary.per_second:,.0f} per second")
    if not summary.all_accepted:
        typer.echo(f"first that was not accepted: {printable(summary.first_failure or '')}")
