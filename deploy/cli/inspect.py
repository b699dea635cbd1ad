"""`crossdock trace` and `crossdock route explain`: what happened, and what would."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from deploy.cli.shared import AsJson, ConfigFile, Failed, State, database_url, failing, print_json, run

route = typer.Typer(help="Routing rules of uStore accounts.", no_args_is_help=True)


def trace(
    key: Annotated[str, typer.Argument(help="Business key, order number, message id or event id.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """One order's whole life: received (each time), stored, versions, allocations, queue messages."""
    found = run(_trace(database_url(state), key))
    if not found["documents"] and not found["quarantine"]:
        raise Failed(f"nothing is known of {key!r}: it was never accepted, or it is older than what is kept")
    if as_json:
        print_json(found)
        return
    for document in found["documents"]:
        typer.echo(f"{document['type']}  {document['key']}  ({document['platform']}/{document['account']})")
        for moment, text in _timeline(document):
            typer.echo(f"  {moment:%Y-%m-%d %H:%M:%S.%f}  {text}")
    for entry in found["quarantine"]:
        typer.echo(f"  {entry['received_at']:%Y-%m-%d %H:%M:%S.%f}  quarantined  {entry['reason']}")


@route.command()
@failing
def explain(
    file: Annotated[Path, typer.Argument(help="An order as uStore posts it.", exists=True, dir_okay=False)],
    account: Annotated[str, typer.Option("--account", help="uStore account whose rules are asked.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Per item: which rule matched, and why the ones before it did not."""
    from deploy import config as configuration
    from schemas.platform import Unreadable
    from workers.route import explain as engine

    accounts = configuration.load(config).accounts.get("ustore", {})
    if account not in accounts:
        raise Failed(f"no account {account!r} of ustore is configured; known: {', '.join(accounts) or 'none'}")
    try:
        explained = engine.explain(accounts[account], file.read_bytes())
    except Unreadable as error:
        raise Failed(f"{file} is no order: {error}") from None
    if as_json:
        print_json(msgspec.to_builtins(explained))
        return
    for item in explained:
        where = f"to {item.destination}" if item.destination else "without an address"
        typer.echo(f"item {item.item}  {item.name}  {item.units or '?'} units, {where}")
        for step in item.steps:
            said = "matches" if step.matched else f"no: {'; '.join(step.reasons)}"
            typer.echo(f"  {step.rule}: {said}")
            for manufacturer, distance in step.distances.items():
                typer.echo(f"    {manufacturer}: {distance:,.0f} km")
        detail = f" ({item.detail})" if item.detail else ""
        typer.echo(f"  -> {item.manufacturer or 'can not be produced'} by {item.rule}{detail}")


async def _trace(url: str, key: str) -> dict[str, Any]:
    import asyncpg

    from storage import trace as traces

    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await traces.trace(connection, key)
    finally:
        await connection.close()


def _timeline(document: dict[str, Any]) -> list[tuple[Any, str]]:
    lines = [
        (one["received_at"], f"received     message {one['message_id']}, {one['bytes']} bytes")
        for one in document["receipts"]
    ]
    for one in document["versions"]:
        flags = f" [{', '.join(one['flags'])}]" if one["flags"] else ""
        text = (
            f"stored       version {one['version']}, received {one['times_received']} times{flags}, event {one['id']}"
        )
        lines.append((one["stored_at"], text))
    for one in document["allocations"]:
        detail = f" ({one['detail']})" if one["detail"] else ""
        text = f"allocated    item {one['order_product_id']} to {one['manufacturer_id']} by {one['rule']}{detail}"
        lines.append((one["allocated_at"], text))
    return sorted(lines, key=lambda line: line[0])
