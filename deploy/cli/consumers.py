"""`crossdock consumers`: queues for systems that come and go."""

import asyncio
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, Management, State

if TYPE_CHECKING:
    from broker.management import Management as Api
    from schemas.consumers import Consumer
    from storage.consumers import AddedConsumer

app = typer.Typer(help="Manage the queues of systems that consume events.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the consumer: letters, digits, - and _.")],
    types: Annotated[
        list[str] | None,
        typer.Option("--types", metavar="P", help="Event types to receive, such as channelape.*; repeatable."),
    ] = None,
    accounts: Annotated[
        list[str] | None,
        typer.Option(
            "--accounts", metavar="A", help="Accounts to receive, such as rothys or channelape/*; repeatable."
        ),
    ] = None,
    max_messages: Annotated[
        int,
        typer.Option(
            "--max-messages", metavar="N", min=1, help="Drop the oldest messages beyond N; the log still has them."
        ),
    ] = 1_000_000,
    max_size: Annotated[
        str, typer.Option("--max-size", metavar="SIZE", help="Drop the oldest messages beyond this size in bytes.")
    ] = "1GB",
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="USER", help="Create a RabbitMQ user that may read this queue and nothing else."
        ),
    ] = None,
    management: Management = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Declare a durable queue for NAME and bind it to `crossdock.events`. Safe to repeat.

    The queue receives what is stored from now on; `crossdock consume --from …` prints what was stored before. Messages
    that the consumer keeps rejecting end in the queue `crossdock.consumer.NAME.dead`.
    """
    from deploy.cli import output, selection

    one = _consumer(name, types, accounts, max_messages, max_size)
    selection.check_accounts(one.accounts, "--accounts")
    found = asyncio.run(_add(one, user, management, state))
    if as_json:
        output.print_json(found)
        return
    typer.echo(f"{found['queue']} is there, bound to {', '.join(found['routing_keys'])}")
    if user:
        typer.echo(f"user {user}, password {found['password']} (shown once), may read it and nothing else")


def _consumer(
    name: str, types: list[str] | None, accounts: list[str] | None, max_messages: int, max_size: str
) -> "Consumer":
    import msgspec

    from schemas.config import parse_size
    from schemas.consumers import Consumer

    def listed(values: list[str] | None) -> list[str]:
        return [one.strip() for value in values or ["*"] for one in value.split(",")]

    try:
        said = {"name": name, "types": listed(types), "accounts": listed(accounts)}
        return msgspec.convert(said | {"max_messages": max_messages, "max_bytes": parse_size(max_size)}, Consumer)
    except msgspec.ValidationError:
        raise typer.BadParameter(f"{name!r}: up to 64 letters, digits, - and _", param_hint="NAME") from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--max-size") from None


async def _add(one: "Consumer", user: str | None, management: str | None, state: Path | None) -> dict[str, Any]:
    from broker import consumers as queues
    from broker.management import vhost_of
    from deploy.cli import servers
    from schemas.consumers import bindings
    from schemas.selection import consumer_problem
    from storage import consumers

    try:
        keys = [binding.routing_key for binding in bindings(one)]
    except ValueError as error:
        raise CommandError(str(error)) from None
    if (problem := consumer_problem(one)) is not None:
        raise CommandError(problem)
    url = servers.amqp_url(state)
    api = None if user is None else _management(management)
    async with servers.database(state) as connection:
        for other in await consumers.listing(connection):
            if other.consumer.name == one.name and other.consumer != one:
                said = f"consumer {one.name} is there with other types, accounts or limits"
                raise CommandError(f"{said}: run `crossdock consumers remove {one.name}` first, or choose another name")
        password = None
        if user is not None and api is not None:
            await _check_user(one, user, url, api, await consumers.listing(connection))
        await queues.add(url, one)
        if user is not None and api is not None:
            password = secrets.token_urlsafe(24)
            # Noted first: a user that was made and isn't known as this consumer's could never be taken over again.
            await consumers.add(connection, one, user)
            await api.give_reader(vhost_of(url), user, password, [one.queue, one.dead])
        else:
            await consumers.add(connection, one, None)
    return {"name": one.name, "queue": one.queue, "dead": one.dead, "routing_keys": keys} | (
        {"user": user, "password": password} if user else {}
    )


async def _check_user(one: "Consumer", user: str, url: str, api: "Api", others: "list[AddedConsumer]") -> None:
    """Raise CommandError if the user is not this consumer's own: setting its rights would replace those that it has."""
    from yarl import URL

    from broker.connection import addresses

    ours = {URL(address).user or "guest" for address in addresses(url)} | {api.username}
    if user in ours:
        raise CommandError(f"{user} is the user that Crossdock itself logs in with: choose another name for --user")
    for other in others:
        if other.username == user and other.consumer.name != one.name:
            raise CommandError(f"{user} is the user of consumer {other.consumer.name}: choose another name for --user")
    own = next((other.username for other in others if other.consumer.name == one.name), None)
    if own not in (None, user):
        raise CommandError(f"consumer {one.name} has the user {own}: give --user {own}, or remove the consumer first")
    if own is None and await api.has_user(user):
        raise CommandError(
            f"RabbitMQ has a user {user} already, which is not this consumer's: choose another name for --user"
        )


@app.command("list")
def list_(state: State = None, as_json: AsJson = False) -> None:
    """List the consumers, and how many messages wait for each."""
    from deploy.cli import output

    found = asyncio.run(_list(state))
    if as_json:
        output.print_json(found)
    elif not found:
        typer.echo("no consumers: `crossdock consumers add NAME` adds one")
    else:
        columns = ("name", "messages", "dead", "consumers", "types", "accounts", "user")
        rows = [
            (
                one["name"], one["messages"], one["dead"], one["consumers"],
                ", ".join(one["types"]), ", ".join(one["accounts"]), one["user"],
            )
            for one in found
        ]  # fmt: skip
        output.print_table(columns, rows, right=("messages", "dead", "consumers"))


async def _list(state: Path | None) -> list[dict[str, Any]]:
    from broker import topology
    from deploy.cli import servers
    from storage import consumers

    async with servers.database(state) as connection:
        there = await consumers.listing(connection)
    names = [name for one in there for name in (one.consumer.queue, one.consumer.dead)]
    depths = await topology.depths(servers.amqp_url(state), names) if names else {}
    return [_row(one, depths) for one in there]


def _row(one: "AddedConsumer", depths: dict[str, tuple[int, int]]) -> dict[str, Any]:
    messages, readers = depths.get(one.consumer.queue, (None, None))
    return {
        "name": one.consumer.name,
        "queue": one.consumer.queue,
        "messages": messages,
        "dead": depths.get(one.consumer.dead, (None,))[0],
        "consumers": readers,
        "types": one.consumer.types,
        "accounts": one.consumer.accounts,
        "max_messages": one.consumer.max_messages,
        "max_bytes": one.consumer.max_bytes,
        "user": one.username,
        "created_at": one.created_at,
    }


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name under which the consumer was added.")],
    force: Annotated[bool, typer.Option("--force", help="Delete the queue even if messages wait in it.")] = False,
    management: Management = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Delete the queue of NAME, and its RabbitMQ user if `consumers add` created it."""
    from deploy.cli import output

    asyncio.run(_remove(name, management, state, force=force))
    if as_json:
        output.print_json({"removed": name})
    else:
        typer.echo(f"{name} has no queue any more")


async def _remove(name: str, management: str | None, state: Path | None, *, force: bool) -> None:
    from broker import consumers as queues
    from deploy.cli import servers
    from storage import consumers

    url = servers.amqp_url(state)
    async with servers.database(state) as connection:
        found = next((one for one in await consumers.listing(connection) if one.consumer.name == name), None)
        if found is None:
            raise CommandError(f"there is no consumer {name}: `crossdock consumers list` shows them all")
        waiting = await queues.waiting(url, found.consumer)
        if waiting and not force:
            raise CommandError(f"{waiting} messages wait for {name}: let it take them, or give --force")
        if found.username is not None:
            await _management(management).remove_user(found.username)
        await queues.remove(url, found.consumer)
        await consumers.remove(connection, name)


@app.command()
def retry(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name under which the consumer was added.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Move the messages that NAME rejected (its `….dead` queue) back to its queue. Safe to interrupt and to repeat."""
    from deploy.cli import output

    count = asyncio.run(_retry(name, state))
    if as_json:
        output.print_json({"name": name, "retried": count})
    else:
        typer.echo(f"{count} messages are back on the queue of {name}")


async def _retry(name: str, state: Path | None) -> int:
    from broker import requeue
    from deploy.cli import servers
    from storage import consumers

    async with servers.database(state) as connection:
        found = next((one for one in await consumers.listing(connection) if one.consumer.name == name), None)
    if found is None:
        raise CommandError(f"there is no consumer {name}: `crossdock consumers list` shows them all")
    return await requeue.move(servers.amqp_url(state), found.consumer.dead, found.consumer.queue)


def _management(url: str | None) -> "Api":
    from broker.management import Management as Api

    url = url or os.environ.get("RABBITMQ_MANAGEMENT_URL")
    if not url:
        raise CommandError(
            "users are created through RabbitMQ's management API: give --management http://user:password@host:15672"
        )
    return Api(url)
