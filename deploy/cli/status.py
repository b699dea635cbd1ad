"""`crossdock status`: what is running, and how much waits where."""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli import output, servers
from deploy.cli.errors import explain, line
from deploy.cli.options import AsJson, ConfigFile, State
from deploy.cli.output import print_table, printable
from deploy.state import read_endpoints, read_shards

if TYPE_CHECKING:
    import aiohttp

    from storage.overview import AccountActivity, DeliveryCounts, TransferCounts
    from storage.polls import FailingAccount

HTTP_TIMEOUT = 2.0
COUNTED = ("crossdock_requests_total", "crossdock_messages_total", "crossdock_answers_total")
"""The metrics that make up a process's rate: webhooks answered, messages settled, senders answered."""
OLDEST = "crossdock_oldest_message_seconds"
BEHIND_SECONDS = 5.0
"""Seconds by which the view `transfers` may be behind."""

Samples = list[tuple[str, dict[str, str], float]]


@dataclass
class ProcessStatus:
    """One process of a running `up`."""

    name: str
    pid: int
    state: str = "running"
    """`ready`, `running` if it has no admin port, else what is wrong."""
    per_second: float | None = None
    admin: str | None = None


@dataclass
class QueueStatus:
    """One queue of the broker."""

    name: str
    messages: int
    consumers: int
    oldest_seconds: float | None
    """Age of the oldest message that was taken last; None if the queue is empty."""


@dataclass
class Status:
    """What the command shows; `--json` prints these fields."""

    processes: list[ProcessStatus] = field(default_factory=list)
    queues: list[QueueStatus] = field(default_factory=list)
    quarantine: int | None = None
    """Number of messages that wait for a person; None if the database is unavailable."""
    quarantine_stages: dict[str, dict[str, float]] = field(default_factory=dict)
    deliveries: "DeliveryCounts | None" = None
    transfers: "TransferCounts | None" = None
    accounts: "Sequence[AccountActivity]" = field(default_factory=list)
    failing_polls: "Sequence[FailingAccount]" = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def status(
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0.1, max=60, help="How long rates are measured.")
    ] = 1.0,
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show processes, queues, quarantine and deliveries. Exits with code 1 if anything is unreachable or not ready."""

    current = asyncio.run(_status(config, state, seconds))
    if as_json:
        output.print_json(current)
    else:
        _print(current)
    if current.problems:
        raise typer.Exit(1)


def _print(current: Status) -> None:
    if current.processes:
        processes = [(p.name, p.pid, p.state, p.per_second, p.admin) for p in current.processes]
        print_table(("process", "pid", "state", "per s", "admin"), processes, right=("pid", "per s"))
        typer.echo()
    if current.queues:
        queues = [(q.name, q.messages, q.consumers, q.oldest_seconds) for q in current.queues]
        print_table(("queue", "messages", "consumers", "oldest s"), queues, right=("messages", "consumers", "oldest s"))
        typer.echo()
    if current.quarantine is not None:
        typer.echo(_quarantine_line(current.quarantine, current.quarantine_stages))
    if current.deliveries is not None:
        typer.echo(_deliveries_line(current.deliveries))
    if current.transfers is not None:
        typer.echo(_transfers_line(current.transfers))
    for poll in current.failing_polls:
        failures = "" if poll.failures == 1 else f" {poll.failures} times in a row"
        typer.echo(f"{poll.platform}/{poll.account} could not be polled{failures}: {printable(str(poll.error))}")
    for activity in current.accounts:
        if activity.quiet and activity.limit_seconds is not None:
            since = f"{activity.platform}/{activity.account} is quiet for {duration(activity.since_seconds)}"
            limit = f"never longer than {duration(activity.limit_seconds)}"
            typer.echo(f"{since}, usually every {duration(activity.usual_seconds)} and {limit}")
    for problem in current.problems:
        typer.echo(f"crossdock: {printable(problem)}", err=True)


def _quarantine_line(waiting: int, stages: dict[str, dict[str, float]]) -> str:
    """Return a line such as `quarantine  3 waiting (2 failed, 1 unrouted), for up to 6 h: …`."""
    if not waiting:
        return "quarantine  0 waiting"
    parts = ", ".join(f"{count['messages']:.0f} {stage}" for stage, count in stages.items() if count["messages"])
    oldest = max(count["oldest_seconds"] for count in stages.values())
    hint = "`crossdock quarantine list` shows why"
    return f"quarantine  {waiting} waiting ({parts}), for up to {duration(oldest)}: {hint}"


def _deliveries_line(counts: "DeliveryCounts") -> str:
    late = f", for up to {counts.oldest_due_seconds:.0f} s" if counts.due else ""
    disabled = f", {counts.disabled} of them disabled" if counts.disabled else ""
    hint = ": `crossdock deliveries list --status failed`" if counts.failed_today else ""
    return (
        f"deliveries  {counts.waiting} waiting, {counts.due} of them due{late}; {counts.failed_today} failed in "
        f"the last day{hint}; {counts.subscriptions} subscriptions{disabled}"
    )


def _transfers_line(counts: "TransferCounts") -> str:
    """Return a line such as `transfers  3 late (rothys 3), for up to 2 d: …`."""
    parts = ", ".join(f"{account} {number}" for account, number in counts.late.items())
    line = f"transfers  {sum(counts.late.values())} late"
    if counts.late:
        line += f" ({parts}), for up to {duration(counts.longest_seconds)}"
    if counts.behind_seconds > BEHIND_SECONDS:
        line += f"; {duration(counts.behind_seconds)} behind"
    if counts.filled < 1:
        line += f"; {counts.filled:.0%} of the stored documents counted"
    return f"{line}: view crossdock.transfers, column late" if counts.late else line


def duration(seconds: float) -> str:
    """Return a duration such as `6 h`, `15 min` or `1.5 s`, in the largest unit that fits it."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


async def _status(config: Path | None, state: Path | None, seconds: float) -> Status:
    """Ask everything that can be reached; each part that cannot becomes a problem."""
    processes, depths, stored = await asyncio.gather(
        _processes(state, seconds), _depths(config, state), _stored(state), return_exceptions=True
    )
    current = stored if isinstance(stored, Status) else Status()
    for part in (processes, depths, stored):
        if isinstance(part, BaseException):
            text = explain(part)
            if text is None:
                raise part
            current.problems.append(text)
    ages: dict[str, float] = {}
    if not isinstance(processes, BaseException):
        current.processes, ages = processes
        current.problems += [f"{p.name}: {p.state}" for p in current.processes if p.state not in ("ready", "running")]
    if not isinstance(depths, BaseException):
        current.queues = [
            QueueStatus(name, ready, consumers, ages.get(name) if ready else None)
            for name, (ready, consumers) in depths.items()
        ]
    return current


async def _depths(config: Path | None, state: Path | None) -> dict[str, tuple[int, int]]:
    """Return the messages and consumers of every queue, with those of registered consumers.

    RabbitMQ logs an error for each queue that does not exist, so no store queues beyond the configured ones are
    queried.
    """
    from broker import topology
    from deploy import config as configuration
    from storage import consumers

    shards = max(configuration.store_shards(config), read_shards(state))
    names: list[str] = []
    with suppress(Exception):  # `_stored` reports that the database is unavailable
        async with servers.database(state) as connection:
            names = [row.consumer.queue for row in await consumers.listing(connection)]
    return await topology.depths(servers.amqp_url(state), names, shards=shards)


async def _stored(state: Path | None) -> Status:
    """Return the part of the status that the database reports."""
    from storage import overview

    async with servers.database(state) as connection:
        stored = await overview.read(connection)
    return Status(
        quarantine=sum(stage.messages for stage in stored.quarantine.values()),
        quarantine_stages={name: stage._asdict() for name, stage in stored.quarantine.items()},
        deliveries=stored.deliveries,
        transfers=stored.transfers,
        accounts=stored.accounts,
        failing_polls=stored.failing_polls,
    )


async def _processes(state: Path | None, seconds: float) -> tuple[list[ProcessStatus], dict[str, float]]:
    """Return every process of a running `up`, and the age of the oldest message per queue."""
    import aiohttp

    endpoints = read_endpoints(state)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HTTP_TIMEOUT)) as session:
        answers = await asyncio.gather(
            *(
                _process(session, ProcessStatus(name, pid, admin=endpoints.admin.get(name)), seconds)
                for name, pid in endpoints.pids.items()
            )
        )
    ages: dict[str, float] = {}
    for _, samples in answers:
        ages |= oldest(samples)
    return [process for process, _ in answers], ages


async def _process(
    session: "aiohttp.ClientSession", process: ProcessStatus, seconds: float
) -> tuple[ProcessStatus, Samples]:
    """Complete the status of a process, and return it with its metrics."""
    import aiohttp

    samples: Samples = []
    if not alive(process.pid):
        process.state = "ended"
    elif process.admin is not None:
        try:
            async with session.get(f"{process.admin}/readyz") as response:
                problems = (await response.json()).get("problems") or ["ready"]
            before, started = await _metrics(session, process.admin), time.monotonic()
            await asyncio.sleep(seconds)
            samples = await _metrics(session, process.admin)
            process.per_second = rate_between(before, samples, time.monotonic() - started)
            process.state = "; ".join(problems)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            process.state = f"does not answer ({line(error) if isinstance(error, OSError) else 'late'})"
    return process, samples


async def _metrics(session: "aiohttp.ClientSession", admin: str) -> Samples:
    from prometheus_client.parser import text_string_to_metric_families

    async with session.get(f"{admin}/metrics") as response:
        families = text_string_to_metric_families(await response.text())
        return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def alive(pid: int) -> bool:
    """Return whether a process with this PID is running."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True


def rate_between(before: Samples, after: Samples, seconds: float) -> float:
    """Return events per second between two samples.

    A process that has counted nothing has no sample, and one that was restarted has a lower count.
    """
    was, now = (sum(value for name, _, value in samples if name in COUNTED) for samples in (before, after))
    return round(max(0.0, now - was) / seconds, 1)


def oldest(samples: Samples) -> dict[str, float]:
    """Return the age in seconds of the oldest message per queue, when a worker last took messages."""
    return {labels["queue"]: round(value, 3) for name, labels, value in samples if name == OLDEST}
