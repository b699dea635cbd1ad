"""`crossdock migrate`: brings the database's schema and roles up to date. `crossdock roles`: prints the roles' SQL."""

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
    """Bring the database schema up to date. Run it before a new version starts; it is safe to repeat.

    Also makes the roles that processes and people use, if the database user may create roles.
    """
    from storage import migrate as migrations
    from storage import roles as storage_roles

    url = servers.database_url(state)
    with servers.reaching("PostgreSQL", "DATABASE_URL", url):
        done = asyncio.run(migrations.migrate(url, post=post, report=_report))
        left = [] if post else asyncio.run(migrations.pending(url))
    lines = [f"applied {name}" for name in done] or ["nothing to apply: the schema is up to date"]
    if left:
        lines.append(
            f"left for `crossdock migrate --post`, to be run when no older version is running: {', '.join(left)}"
        )
    absent = servers.run_on_database(state, storage_roles.absent)
    ungranted = [] if absent else servers.run_on_database(state, storage_roles.missing)
    if absent:
        lines.append(
            f"not made, because this database user may not create roles: {', '.join(absent)}; a database administrator "
            "runs what `crossdock roles` prints. Until then, each process has the privileges of its own user"
        )
    if ungranted:
        lines.append(
            f"not granted, because this database user does not own everything: {len(ungranted)} privileges of roles; a "
            "database administrator runs what `crossdock roles` prints"
        )
    print_result({"applied": done, "post": left, "roles_missing": absent}, as_json, *lines)


def roles() -> None:
    """Print the SQL that makes the database roles, for a database administrator: `crossdock roles | psql …`.

    Run it after `crossdock migrate`, which does the same where its user may create roles. It is safe to repeat.
    """
    from storage import roles as storage_roles

    typer.echo(storage_roles.sql(), nl=False)


def _report(line: str) -> None:
    """Print a line of progress where it does not mix with the result."""
    typer.echo(line, err=True)
