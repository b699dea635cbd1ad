"""`crossdock migrate`, `status` and `check`: what an operator asks first."""

from pathlib import Path
from typing import Any

import typer

from deploy.cli.shared import (
    AsJson,
    ConfigFile,
    State,
    amqp_url,
    database_url,
    endpoints,
    print_json,
    print_table,
    run,
)


def migrate(state: State = None, as_json: AsJson = False) -> None:
    """Brings the database's schema up to date. Safe to run by several at once."""
    from storage import migrate as migrations

    done = run(migrations.migrate(database_url(state)))
    if as_json:
        print_json({"applied": done})
    else:
        typer.echo("\n".join(f"applied {name}" for name in done) or "nothing to apply")


def status(state: State = None, as_json: AsJson = False) -> None:
    """What is running, queue depths, oldest message, quarantine."""
    found = run(_status(state))
    if as_json:
        print_json(found)
        return
    processes = [(p["name"], p["pid"], p["state"], p["admin"]) for p in found["processes"]]
    print_table("processes", ("name", "pid", "state", "admin"), processes, "no `crossdock up` runs here")
    queues = [(q["name"], q["messages"], q["consumers"], q["oldest_seconds"]) for q in found["queues"]]
    print_table("queues", ("name", "messages", "consumers", "oldest s"), queues, "no queue of ours on the broker")
    typer.echo(f"quarantine: {found['quarantine']} waiting")


def check(
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Checks the configuration and every connection; says what is wrong and how to mend it."""
    found = run(_check(config, state))
    if as_json:
        print_json([{"what": what, "problem": problem} for what, problem in found])
    else:
        for what, problem in found:
            typer.echo(f"{what:<14} {problem or 'ok'}")
    if any(problem for _, problem in found):
        raise typer.Exit(1)


async def _status(state: Path | None) -> dict[str, Any]:
    import aiohttp
    import asyncpg

    from broker import topology
    from storage import quarantine

    known = endpoints(state)
    processes, ages = [], {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        for name, pid in known.get("pids", {}).items():
            admin = known["admin"].get(name)
            said = "running"
            if admin:
                said, more = await _ask(session, admin)
                ages.update(more)
            processes.append({"name": name, "pid": pid, "state": said, "admin": admin})
    depths = await topology.depths(amqp_url(state))
    connection = await asyncpg.connect(database_url(state), timeout=10)
    try:
        waiting = await quarantine.count_open(connection)
    finally:
        await connection.close()
    queues = [
        {"name": name, "messages": ready, "consumers": consumers, "oldest_seconds": ages.get(name) if ready else None}
        for name, (ready, consumers) in depths.items()
    ]
    return {"processes": processes, "queues": queues, "quarantine": waiting}


async def _ask(session: Any, admin: str) -> tuple[str, dict[str, float]]:
    """A process's own word on itself, and the ages of messages it took last, by queue."""
    import aiohttp
    from prometheus_client.parser import text_string_to_metric_families

    try:
        async with session.get(f"{admin}/readyz") as answer:
            ready = await answer.json()
        async with session.get(f"{admin}/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
            ages = {
                sample.labels["queue"]: round(sample.value, 3)
                for family in families
                if family.name == "crossdock_oldest_message_seconds"
                for sample in family.samples
            }
    except (aiohttp.ClientError, OSError, TimeoutError):
        return "does not answer", {}
    return "; ".join(ready.get("problems", [])) or "ready", ages


async def _check(config: Path | None, state: Path | None) -> list[tuple[str, str]]:
    from broker import topology
    from deploy import config as configuration
    from storage import migrate as migrations

    found: list[tuple[str, str]] = []
    try:
        loaded = configuration.load(config)
        file = configuration.find(config)
        problem = "" if any(loaded.accounts.values()) else "no account is configured: nothing would be accepted"
        found.append((f"config {file or '(defaults)'}", problem))
        found += _rules(loaded)
    except configuration.ConfigError as error:
        found.append(("config", str(error)))
    try:
        problems = await topology.check(amqp_url(state))
        found.append(("rabbitmq", "; ".join(problems)))
    except Exception as error:
        found.append(("rabbitmq", _said(error)))
    try:
        pending = await migrations.pending(database_url(state))
        found.append(("postgresql", f"run `crossdock migrate`: {', '.join(pending)}" if pending else ""))
    except Exception as error:
        found.append(("postgresql", _said(error)))
    return found


def _rules(loaded: Any) -> list[tuple[str, str]]:
    from workers.route import explain

    return [
        (f"rules {name}", "; ".join(explain.check(account)))
        for name, account in loaded.accounts.get("ustore", {}).items()
    ]


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
