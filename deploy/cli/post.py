"""`crossdock send`: posts examples as the platform would, signed, and says how it went."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import msgspec
import typer

from deploy.cli.shared import AsJson, ConfigFile, Failed, State, endpoints, print_json, run

CONNECTIONS = 64


class Plan(msgspec.Struct, frozen=True):
    """What is posted where."""

    url: str
    make: Callable[[], tuple[bytes, dict[str, str], dict[str, str]]]
    """A body, its headers and its query."""


class Summary(msgspec.Struct):
    """What came of it."""

    posted: int
    seconds: float
    per_second: float
    statuses: dict[str, int]
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    answer: str
    """The last answer's body: worth seeing where a platform is answered."""


def send(
    platform: Annotated[str, typer.Argument(help="apicbase, channelape, ecomnow or ustore.")],
    event: Annotated[str, typer.Argument(help="An event or example, as in receipt_confirmation or new_order.")],
    account: Annotated[str | None, typer.Option(help="Account.", show_default="the first one")] = None,
    file: Annotated[Path | None, typer.Option(help="A body of your own.", exists=True, dir_okay=False)] = None,
    url: Annotated[str | None, typer.Option(help="The ingress, as in http://127.0.0.1:8080.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many, each under a business key of its own.")] = 1,
    rate: Annotated[float | None, typer.Option(min=0.001, help="At most so many a second.")] = None,
    same: Annotated[bool, typer.Option("--same", help="The same document each time.")] = False,
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Posts examples signed as the platform signs them. Exit code 1 if any answer is not 2xx."""
    plan = _plan(
        platform, event, account, file, url, same or (file is not None and count == 1) or count == 1, config, state
    )
    summary = run(_post(plan, count, rate, quiet=as_json))
    if as_json:
        print_json(msgspec.to_builtins(summary))
    else:
        _print(summary)
    if any(not status.startswith("2") for status in summary.statuses):
        raise typer.Exit(1)


def _plan(
    platform: str,
    event: str,
    account: str | None,
    file: Path | None,
    url: str | None,
    same: bool,
    config: Path | None,
    state: Path | None,
) -> Plan:
    from deploy import config as configuration
    from schemas import registry

    known = registry.platforms().get(platform)
    if known is None:
        raise Failed(f"unknown platform {platform!r}; known: {', '.join(registry.platforms())}")
    found = next(((e, name) for e in known.events for name in (e.name, *e.examples) if name == event), None)
    found = found or next(
        ((e, t.split(".")[1]) for e in known.events for t in e.types if event in (t, t.split(".")[1])), None
    )
    if found is None:
        names = sorted({name for e in known.events for name in (e.name, *e.examples)})
        raise Failed(f"unknown event {event!r} of {platform}; known: {', '.join(names)}")
    hook, name = found
    accounts = configuration.load(config).accounts.get(platform, {})
    account = account or next(iter(accounts), None)
    if account is None or account not in accounts:
        raise Failed(
            f"no account {account or ''!r} of {platform} is configured; known: {', '.join(accounts) or 'none'}"
        )
    settings = accounts[account]
    base = url or endpoints(state).get("ingress")
    if not base:
        raise Failed("no ingress is known: give --url, or start `crossdock up`")
    example = (
        name if name in hook.examples else next((x for x in hook.examples if x.startswith(name)), hook.examples[0])
    )
    body = file.read_bytes() if file else registry.example(platform, example)

    def make() -> tuple[bytes, dict[str, str], dict[str, str]]:
        raw = body if same or known.vary is None else known.vary(hook.name, body, uuid4().hex)
        signed = known.sign(raw, settings)
        return raw, {"Content-Type": "application/json", **signed.headers}, signed.query

    return Plan(f"{base.rstrip('/')}/hooks/{platform}/{account}/{hook.path}", make)


async def _post(plan: Plan, count: int, rate: float | None, *, quiet: bool) -> Summary:
    import aiohttp
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    statuses: Counter[str] = Counter()
    latencies: list[float] = []
    answer = b""
    numbers = iter(range(count))
    started = time.perf_counter()
    bar = Progress(
        TextColumn("posting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=quiet or count < 10
    )

    async def poster(session: aiohttp.ClientSession, advance: Callable[[], None]) -> None:
        nonlocal answer
        for number in numbers:
            if rate is not None:
                await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            raw, headers, query = plan.make()
            begun = time.perf_counter()
            try:
                async with session.post(plan.url, data=raw, headers=headers, params=query) as response:
                    answer = await response.read()
                    statuses[str(response.status)] += 1
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                statuses[f"error: {type(error).__name__}"] += 1
            latencies.append(time.perf_counter() - begun)
            advance()

    timeout = aiohttp.ClientTimeout(total=30)
    with bar:
        task = bar.add_task("", total=count)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
            await asyncio.gather(*(poster(session, lambda: bar.advance(task)) for _ in range(min(CONNECTIONS, count))))
    seconds = time.perf_counter() - started
    latencies.sort()

    def at(share: float) -> float:
        return round(latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000, 2)

    return Summary(
        posted=count,
        seconds=round(seconds, 3),
        per_second=round(count / seconds, 1),
        statuses=dict(statuses),
        p50_ms=at(0.5),
        p90_ms=at(0.9),
        p99_ms=at(0.99),
        max_ms=at(1.0),
        answer=answer.decode("utf-8", "replace")[:500],
    )


def _print(summary: Summary) -> None:
    for status, number in sorted(summary.statuses.items()):
        typer.echo(f"{status:<8} {number}")
    typer.echo(f"{summary.posted} posted in {summary.seconds} s, {summary.per_second} a second")
    typer.echo(
        f"latency  p50 {summary.p50_ms} ms  p90 {summary.p90_ms} ms  p99 {summary.p99_ms} ms  max {summary.max_ms} ms"
    )
    if summary.posted == 1:
        typer.echo(summary.answer)


def example_posts() -> list[tuple[str, Any]]:
    """Every platform with every one of its events' types and the example that shows it, for the demo."""
    from schemas import registry

    return [
        (platform.name, (hook, example))
        for platform in registry.platforms().values()
        for hook in platform.events
        for example in hook.examples[: len(hook.types)]
    ]
