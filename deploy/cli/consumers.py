"""`crossdock consumers`: manages the queues of systems that consume events."""

import asyncio
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from deploy.cli import selection, servers
from deploy.cli.commands import Commands
from deploy.cli.errors import CommandError
from deploy.cli.options import LARGEST, AsJson, Management, State
from deploy.cli.output import print_listing, print_result

if TYPE_CHECKING:
    from broker.management import Management as Api
    from schemas.consumers import Consumer
    from storage.consumers import AddedConsumer

app = Commands(help="Manage the queues of systems that consume events.")


class Added(NamedTuple):
    """What `consumers add` has created."""

    routing_keys: list[str]
    password: str | None
    """Of the user, if one was created."""


@dataclass
class ConsumerRow:
    """What `consumers list` shows of one consumer; the numbers are None if its queue doesn't exist."""

    name: str
    queue: str
    messages: int | None
    dead: int | None
    consumers: int | None
    types: list[str]
    accounts: list[str]
    max_messages: int
    max_bytes: int
    user: str | None
    created_at: datetime


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
            "--max-messages",
            metavar="N",
            min=1,
            max=LARGEST,
            help="Drop the oldest messages beyond N; the log still has them.",
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

    consumer = _consumer(name, types, accounts, max_messages, max_size)
    selection.check_accounts(consumer.accounts, "--accounts")
    added = asyncio.run(_add(consumer, user, management, state))
    payload: dict[str, object] = {
        "name": name, "queue": consumer.queue, "dead": consumer.dead, "routing_keys": added.routing_keys
    }  # fmt: skip
    lines = [f"{consumer.queue} exists, bound to {', '.join(added.routing_keys)}"]
    if user:
        payload |= {"user": user, "password": added.password}
        lines.append(f"user {user}, password {added.password} (shown once), may read it and nothing else")
    print_result(payload, as_json, *lines)


def _consumer(
    name: str, types: list[str] | None, accounts: list[str] | None, max_messages: int, max_size: str
) -> "Consumer":
    """Return the consumer that the options describe. Raises BadParameter."""
    import msgspec

    from schemas.config import parse_size
    from schemas.consumers import Consumer

    def split(values: list[str] | None, option: str) -> list[str]:
        parts = [part.strip() for value in values or ["*"] for part in value.split(",")]
        if not all(parts):
            raise typer.BadParameter("must not be empty", param_hint=option)
        return parts

    fields = {"name": name, "types": split(types, "--types"), "accounts": split(accounts, "--accounts")}
    try:
        return msgspec.convert(fields | {"max_messages": max_messages, "max_bytes": parse_size(max_size)}, Consumer)
    except msgspec.ValidationError:
        raise typer.BadParameter(f"{name!r}: up to 64 letters, digits, - and _", param_hint="NAME") from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--max-size") from None


async def _add(consumer: "Consumer", user: str | None, management: str | None, state: Path | None) -> Added:
    """Declare the queue, and create the user if one is given. Raises CommandError."""
    from broker import consumers as queues
    from broker.management import vhost_of
    from schemas.consumers import bindings
    from schemas.selection import consumer_problem
    from storage import consumers

    try:
        keys = [binding.routing_key for binding in bindings(consumer)]
    except ValueError as error:
        raise CommandError(str(error)) from None
    if (problem := consumer_problem(consumer)) is not None:
        raise CommandError(problem)
    url = servers.amqp_url(state)
    api = None if user is None else _management(management)
    async with servers.database(state) as connection:
        registered = await consumers.listing(connection)
        for other in registered:
            if other.consumer.name == consumer.name and other.consumer != consumer:
                raise CommandError(
                    f"consumer {consumer.name} exists with other types, accounts or limits: run "
                    f"`crossdock consumers remove {consumer.name}` first, or choose another name"
                )
        if user is not None and api is not None:
            await _check_user(consumer, user, url, api, registered)
        await queues.add(url, consumer)
        if user is None or api is None:
            await consumers.add(connection, consumer, None)
            return Added(keys, None)
        password = secrets.token_urlsafe(24)
        # Registered first: a user that exists but is not registered as this consumer's could never be taken over again.
        await consumers.add(connection, consumer, user)
        await api.give_reader(vhost_of(url), user, password, [consumer.queue, consumer.dead])
    return Added(keys, password)


async def _check_user(consumer: "Consumer", user: str, url: str, api: "Api", registered: "list[AddedConsumer]") -> None:
    """Raise CommandError if the user is not this consumer's own: its existing permissions would be replaced."""
    from yarl import URL

    from broker.connection import addresses

    ours = {URL(address).user or "guest" for address in addresses(url)} | {api.username}
    if user in ours:
        raise CommandError(f"{user} is the user that Crossdock itself logs in with: choose another name for --user")
    own: str | None = None
    for other in registered:
        if other.consumer.name == consumer.name:
            own = other.username
        elif other.username == user:
            name = other.consumer.name
            raise CommandError(f"{user} is the user of consumer {name}: choose another name for --user")
    if own not in (None, user):
        raise CommandError(f"consumer {consumer.name} has the user {own}: give --user {own}, or remove it first")
    if own is None and await api.has_user(user):
        raise CommandError(
            f"RabbitMQ has a user {user} already, which is not this consumer's: choose another name for --user"
        )


@app.command("list")
def list_(state: State = None, as_json: AsJson = False) -> None:
    """List the consumers, and how many messages wait for each."""

    print_listing(
        asyncio.run(_list(state)),
        as_json,
        columns=("name", "messages", "dead", "consumers", "types", "accounts", "user"),
        cells=lambda row: (
            row.name, row.messages, row.dead, row.consumers, ", ".join(row.types), ", ".join(row.accounts), row.user
        ),
        empty="no consumers: `crossdock consumers add NAME` adds one",
        right=("messages", "dead", "consumers"),
    )  # fmt: skip


async def _list(state: Path | None) -> list[ConsumerRow]:
    from broker import topology
    from storage import consumers

    async with servers.database(state) as connection:
        registered = await consumers.listing(connection)
    names = [name for row in registered for name in (row.consumer.queue, row.consumer.dead)]
    depths = await topology.depths_of(servers.amqp_url(state), names) if names else {}
    return [_row(row, depths) for row in registered]


def _row(row: "AddedConsumer", depths: dict[str, tuple[int, int]]) -> ConsumerRow:
    messages, readers = depths.get(row.consumer.queue, (None, None))
    return ConsumerRow(
        name=row.consumer.name,
        queue=row.consumer.queue,
        messages=messages,
        dead=depths.get(row.consumer.dead, (None,))[0],
        consumers=readers,
        types=row.consumer.types,
        accounts=row.consumer.accounts,
        max_messages=row.consumer.max_messages,
        max_bytes=row.consumer.max_bytes,
        user=row.username,
        created_at=row.created_at,
    )


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name under which the consumer was added.")],
    force: Annotated[bool, typer.Option("--force", help="Delete the queue even if messages wait in it.")] = False,
    management: Management = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Delete the queue of NAME, and its RabbitMQ user if `consumers add` created it."""

    asyncio.run(_remove(name, management, state, force=force))
    print_result({"removed": name}, as_json, f"the queue of {name} is deleted")


async def _remove(name: str, management: str | None, state: Path | None, *, force: bool) -> None:
    from broker import consumers as queues
    from storage import consumers

    url = servers.amqp_url(state)
    async with servers.database(state) as connection:
        registered = _named(name, await consumers.listing(connection))
        waiting = await queues.waiting(url, registered.consumer)
        if waiting and not force:
            raise CommandError(f"{waiting} messages wait for {name}: let it take them, or give --force")
        if registered.username is not None:
            await _management(management).remove_user(registered.username)
        await queues.remove(url, registered.consumer)
        await consumers.remove(connection, name)


@app.command()
def retry(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name under which the consumer was added.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Move the messages that NAME rejected (its `….dead` queue) back to its queue. Safe to interrupt and to repeat."""

    count = asyncio.run(_retry(name, state))
    print_result({"name": name, "retried": count}, as_json, f"{count} messages are back on the queue of {name}")


async def _retry(name: str, state: Path | None) -> int:
    from broker import requeue
    from storage import consumers

    async with servers.database(state) as connection:
        registered = _named(name, await consumers.listing(connection))
    return await requeue.move(servers.amqp_url(state), registered.consumer.dead, registered.consumer.queue)


def _named(name: str, registered: "list[AddedConsumer]") -> "AddedConsumer":
    for row in registered:
        if row.consumer.name == name:
            return row
    raise CommandError(f"there is no consumer {name}: `crossdock consumers list` shows them all")


def _management(url: str | None) -> "Api":
    from broker.management import Management as Api

    url = url or os.environ.get("RABBITMQ_MANAGEMENT_URL")
    if not url:
        raise CommandError(
            "users are created through RabbitMQ's management API: give --management http://user:password@host:15672"
        )
    return Api(url)
