"""`crossdock migrate`: the database's schema."""

import asyncio
from typing import Annotated

import typer

from deploy.cli.options import AsJson, State


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
    from deploy.cli import output, servers
    from storage import migrate as migrations

    url = servers.database_url(state)
    with servers.reaching("PostgreSQL", "DATABASE_URL", url):
        done = asyncio.run(migrations.migrate(url, post=post))
        left = [] if post else asyncio.run(migrations.pending(url))
    if as_json:
        output.print_json({"applied": done, "post": left})
        return
    typer.echo("\n".join(f"applied {name}" for name in done) or "nothing to apply: the schema is up to date")
    if left:
        typer.echo(
            f"left for `crossdock migrate --post`, to be run when no older version is running: {', '.join(left)}"
        )
