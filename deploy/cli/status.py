"""`crossdock status`: what is running, and how much waits where."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.errors import explain, line
from deploy.cli.options import AsJson, State

if TYPE_CHECKING:
    import aiohttp

    from storage.activity import Activity
    from storage.polls import FailingAccount
    from storage.quarantine import StageCount

HTTP_TIMEOUT = 2.0
COUNTED = ("crossdock_requests_total", "crossdock_messages_total", "crossdock_answers_total")
"""What a process's rate is counted by: webhooks answered, messages settled, senders answered."""
OLDEST = "crossdock_oldest_message_seconds"

Samples = list[tuple[str, dict[str, str], float]]


def status(
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0.1, max=60, help="How long rates are measured.")
    ] = 1.0,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show processes, queues, quarantine and deliveries. Exits with code 1 if anything is unreachable or not ready."""
    from deploy.cli import output

    found = asyncio.run(_status(state, seconds))
    if as_json:
        output.print_json(found)
    else:
        _print(found)
    if found["problems"]:
        raise typer.Exit(1)


def _print(found: dict[str, Any]) -> None:
    from deploy.cli.output import print_table, printable

    if found["processes"]:
        rows = [(p["name"], p["pid"], p["state"], p["per_second"], p["admin"]) for p in found["processes"]]
        print_table(("process", "pid", "state", "per s", "admin"), rows, right=("pid", "per s"))
        typer.echo()
    if found["queues"]:
        queues = [(q["name"], q["messages"], q["consumers"], q["oldest_seconds"]) for q in found["queues"]]
        print_table(("queue", "messages", "consumers", "oldest s"), queues, right=("messages", "consumers", "oldest s"))
        typer.echo()
    if found["quarantine"] is not None:
        typer.echo(_quarantine_line(found["quarantine"], found["quarantine_stages"]))
    if found["deliveries"] is not None:
        typer.echo(_deliveries_line(found["deliveries"]))
    for one in found["failing_polls"]:
        problem = printable(str(one["error"]))
        typer.echo(f"{one['platform']}/{one['account']} can't be polled, {one['failures']} times now: {problem}")
    for one in found["accounts"]:
        if one["quiet"]:
            usual = f"usually every {duration(one['usual_seconds'])}"
            quiet = f"{one['platform']}/{one['account']} is quiet for {duration(one['since_seconds'])}"
            typer.echo(f"{quiet}, {usual} and never longer than {duration(one['limit_seconds'])}")
    for problem in found["problems"]:
        typer.echo(f"crossdock: {printable(problem)}", err=True)


def _quarantine_line(waiting: int, stages: dict[str, dict[str, float]]) -> str:
    """Return a line such as `quarantine  3 waiting (2 failed, 1 unrouted), for up to 6 h: …`."""
    if not waiting:
        return "quarantine  0 waiting"
    parts = ", ".join(f"{found['messages']:.0f} {stage}" for stage, found in stages.items() if found["messages"])
    oldest = max(found["oldest_seconds"] for found in stages.values())
    hint = "`crossdock quarantine list` shows why"
    return f"quarantine  {waiting} waiting ({parts}), for up to {duration(oldest)}: {hint}"


def _deliveries_line(found: dict[str, Any]) -> str:
    late = f", for up to {found['oldest_due_seconds']:.0f} s" if found["due"] else ""
    disabled = f", {found['disabled']} of them disabled" if found["disabled"] else ""
    hint = ": `crossdock deliveries list --status failed`" if found["failed_today"] else ""
    return (
        f"deliveries  {found['waiting']} waiting, {found['due']} of them due{late}; {found['failed_today']} failed in "
        f"the last day{hint}; {found['subscriptions']} subscriptions{disabled}"
    )


def duration(seconds: float) -> str:
    """Return a duration such as `6 h`, `15 min` or `1.5 s`, in the largest unit that fits it."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


async def _status(state: Path | None, seconds: float) -> dict[str, Any]:
    processes, queues, stored = await asyncio.gather(
        _processes(state, seconds), _queues(state), _stored(state), return_exceptions=True
    )
    problems = []
    for part in (processes, queues, stored):
        if isinstance(part, BaseException):
            said = explain(part)
            if said is None:
                raise part
            problems.append(said)
    known, ages = ([], {}) if isinstance(processes, BaseException) else processes
    problems += [f"{p['name']}: {p['state']}" for p in known if p["state"] not in ("ready", "running")]
    held, deliveries, accounts, failing = (None, None, [], []) if isinstance(stored, BaseException) else stored
    depths = {} if isinstance(queues, BaseException) else queues
    return {
        "processes": known,
        "queues": [
            # The age is of the oldest message that was taken last: of an empty queue it says nothing any more.
            {
                "name": name,
                "messages": ready,
                "consumers": consumers,
                "oldest_seconds": ages.get(name) if ready else None,
            }
            for name, (ready, consumers) in depths.items()
        ],
        "quarantine": None if held is None else sum(one.messages for one in held.values()),
        "quarantine_stages": {stage: one._asdict() for stage, one in (held or {}).items()},
        "deliveries": deliveries,
        "accounts": [
            {
                "platform": one.platform,
                "account": one.account,
                "last_at": one.last_at,
                "messages": one.messages,
                "since_seconds": round(one.since, 1),
                "usual_seconds": round(one.usual, 3),
                "limit_seconds": one.limit,
                "quiet": one.silence,
            }
            for one in accounts
        ],
        "failing_polls": [
            {
                "platform": one.platform,
                "account": one.account,
                "failures": one.failures,
                "error": one.error,
                "last_ok_at": one.last_ok_at,
            }
            for one in failing
        ],
        "problems": problems,
    }


async def _queues(state: Path | None) -> dict[str, tuple[int, int]]:
    from broker import topology
    from deploy.cli import servers
    from storage import consumers

    names: list[str] = []
    with suppress(Exception):  # that the database is away is said elsewhere
        async with servers.database(state) as connection:
            names = [one.consumer.queue for one in await consumers.listing(connection)]
    return await topology.depths(servers.amqp_url(state), names)


async def _stored(
    state: Path | None,
) -> tuple[dict[str, "StageCount"], dict[str, Any], list["Activity"], list["FailingAccount"]]:
    """Return messages in quarantine, deliveries, the activity of each account, and accounts whose polls fail."""
    from deploy.cli import servers
    from storage import activity, deliveries, polls, quarantine

    async with servers.database(state) as connection:
        return (
            await quarantine.by_stage(connection),
            await deliveries.counts(connection),
            await activity.by_account(connection),
            await polls.failing(connection),
        )


async def _processes(state: Path | None, seconds: float) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return every process of a running `up`, and the age of the oldest message per queue."""
    import aiohttp

    from deploy.cli import servers

    known = servers.endpoints(state)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HTTP_TIMEOUT)) as session:
        answers = await asyncio.gather(
            *(_process(session, name, pid, known.get("admin", {}).get(name), seconds)
              for name, pid in known.get("pids", {}).items())
        )  # fmt: skip
    ages: dict[str, float] = {}
    for _, samples in answers:
        ages |= oldest(samples)
    return [process for process, _ in answers], ages


async def _process(
    session: "aiohttp.ClientSession", name: str, pid: int, admin: str | None, seconds: float
) -> tuple[dict[str, Any], Samples]:
    import aiohttp

    found: dict[str, Any] = {"name": name, "pid": pid, "state": "running", "per_second": None, "admin": admin}
    if not alive(pid):
        return found | {"state": "ended"}, []
    if admin is None:
        return found, []
    try:
        async with session.get(f"{admin}/readyz") as answer:
            said = (await answer.json()).get("problems") or ["ready"]
        before, begun = await _metrics(session, admin), time.monotonic()
        await asyncio.sleep(seconds)
        after = await _metrics(session, admin)
        rate = rate_between(before, after, time.monotonic() - begun)
        return found | {"state": "; ".join(said), "per_second": rate}, after
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return found | {"state": f"does not answer ({line(error) if isinstance(error, OSError) else 'late'})"}, []


async def _metrics(session: "aiohttp.ClientSession", admin: str) -> Samples:
    from prometheus_client.parser import text_string_to_metric_families

    async with session.get(f"{admin}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
        return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def alive(pid: int) -> bool:
    """Return whether a process with this PID is running."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
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
