"""`crossdock migrate`: the database's schema."""

import asyncio
from typing import Annotated

import typer

from deploy.cli.options import AsJson, State


def migrate(
    post: Annotated[
        bool, typer.Option("--post", help="Also what the version before can't live with: once none of it runs.")
    ] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Brings the database's schema up to date, before a new version starts. Safe to repeat, and by several at once."""
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
        typer.echo(f"left for `crossdock migrate --post`, once no older version runs: {', '.join(left)}")
