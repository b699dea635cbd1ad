"""`crossdock migrate`: the database's schema."""

import asyncio

import typer

from deploy.cli.options import AsJson, State


def migrate(state: State = None, as_json: AsJson = False) -> None:
    """Brings the database's schema up to date. Safe to repeat, and by several at once."""
    from deploy.cli import output, servers
    from storage import migrate as migrations

    url = servers.database_url(state)
    with servers.reaching("PostgreSQL", "DATABASE_URL", url):
        done = asyncio.run(migrations.migrate(url))
    if as_json:
        output.print_json({"applied": done})
    else:
        typer.echo("\n".join(f"applied {name}" for name in done) or "nothing to apply: the schema is up to date")
