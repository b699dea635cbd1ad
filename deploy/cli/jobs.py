"""`crossdock jobs` and `crossdock actions`: what operators started in the console, and what they did."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from deploy.cli import servers
from deploy.cli.commands import Commands
from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, Limit, State, parse_uuid
from deploy.cli.output import moment, print_listing, print_result
from deploy.cli.recording import record

if TYPE_CHECKING:
    from storage.jobs import Job

app = Commands(help="Show and stop actions on many things that operators started in the console.")


@app.command("list")
def list_(limit: Limit = 20, state: State = None, as_json: AsJson = False) -> None:
    """List jobs, newest first, with their progress."""
    from storage import jobs

    rows = servers.run_on_database(state, lambda connection: jobs.newest(connection, limit))
    print_listing(
        rows,
        as_json,
        columns=("started (UTC)", "operator", "action", "progress", "id, and what"),
        cells=lambda job: (
            moment(job.created_at),
            job.operator,
            job.action,
            _progress(job),
            f"{job.id}\n{job.subject}",
        ),
        empty="no jobs",
    )


@app.command()
def stop(
    id: Annotated[str, typer.Argument(metavar="ID", help="Job ID, as shown by `jobs list`.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Stop a job before its next piece. What is done stays done."""
    id_ = parse_uuid(id, "ID", "`crossdock jobs list` shows them")
    asyncio.run(_stop(state, id_))
    print_result({"id": id_, "stopping": True}, as_json, f"{id_} stops before its next piece")


def actions(
    operator: Annotated[str | None, typer.Option(metavar="NAME", help="Only actions of this operator.")] = None,
    action: Annotated[
        str | None, typer.Option(metavar="ACTION", help="Only this action, such as deliveries.retry.")
    ] = None,
    limit: Limit = 100,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List what operators did in the console, newest first."""
    from storage import actions as recorded

    rows = servers.run_on_database(
        state, lambda connection: recorded.listing(connection, operator=operator, action=action, limit=limit)
    )
    print_listing(
        rows,
        as_json,
        columns=("at (UTC)", "operator", "action", "count", "outcome", "of what, and why"),
        cells=lambda row: (
            moment(row.at),
            row.operator,
            row.action,
            row.count,
            row.outcome,
            "\n".join(filter(None, (row.subject, row.note))),
        ),
        empty="no actions",
        right=("count",),
    )


async def _stop(state: Path | None, id_: UUID) -> None:
    """Ask a job to stop, and record that. Raises CommandError."""
    from storage import jobs

    async with servers.database(state) as connection, connection.transaction():
        action = await jobs.ask_to_stop(connection, id_)
        if action is None:
            problem = "has ended already" if await jobs.exists(connection, id_) else "does not exist"
            raise CommandError(f"job {id_} {problem}: `crossdock jobs list` shows them")
        await record(connection, "jobs.stop", subject=str(id_), note=action)


def _progress(job: "Job") -> str:
    total = f"{job.total:,}" if job.is_exact else f"more than {job.total:,}"
    state = job.outcome or ("stopping" if job.stop_asked else "waiting" if job.waits else "running")
    failed = f", {job.failed:,} failed" if job.failed else ""
    return f"{job.done:,} of {total}{failed}\n{state}"
