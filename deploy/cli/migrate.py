"""`crossdock migrate`: brings the database's schema up to date."""

import asyncio
from typing import Annotated

import typer

from deploy.cli import servers
from deploy.cli.options import AsJson, State
from deploy.cli.output import print_result


def migrate(
    post: Annotated[
        bool,
        typer.Option(
            "--post",
            help="Also apply changes that older versions cannot work with; run it when none of them is running.",
        ),
    ] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database schema up to date. Run it before a new version starts; it is safe to repeat."""
    from storage import migrate as migrations

    url = servers.database_url(state)
    with servers.reaching("PostgreSQL", "DATABASE_URL", url):
        done = asyncio.run(migrations.migrate(url, post=post, report=_report))
        left = [] if post else asyncio.run(migrations.pending(url))
    lines = [f"applied {name}" for name in done] or ["nothing to apply: the schema is up to date"]
    if left:
        lines.append(
            f"left for `crossdock migrate --post`, to be run when no older version is running: {', '.join(left)}"
        )
    print_result({"applied": done, "post": left}, as_json, *lines)


def _report(line: str) -> None:
    """Print a line of progress where it does not mix with the result."""
    typer.echo(line, err=True)
