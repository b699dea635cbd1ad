"""`crossdock subscriptions`: shows subscriptions, and changes what an operator may change."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer

from deploy.cli import output, servers
from deploy.cli.commands import Commands
from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, ConfigFile, Limit, State, parse_uuid
from deploy.cli.output import moment, print_listing, print_result
from deploy.cli.recording import record

if TYPE_CHECKING:
    from storage.database import Connection
    from storage.delivery_lists import LastAttempt
    from storage.replays import ReplayState
    from storage.subscription_lists import Backlog, Settings
    from storage.subscriptions import Subscription

T = TypeVar("T")
app = Commands(help="Show and control the subscriptions of subscribers.")

Id = Annotated[str, typer.Argument(metavar="ID", help="Subscription ID, as shown by `subscriptions list`.")]
HINT = "`crossdock subscriptions list` shows them"
NEWEST_REPLAYS = 20
"""Number of replays that `show` prints."""


@dataclass
class SubscriptionRow:
    """What `subscriptions list` and `show` print of one subscription, without secrets and the query of its URL."""

    id: UUID
    subscriber: str
    url: str
    types: list[str]
    accounts: list[str]
    dialect: str
    schedule: list[float] | None
    max_rate: float | None
    max_in_flight: int
    filter: str | None
    """The filter as JSON; None if it has none."""
    payload: str
    """`full`, or `thin`: events are sent without their data, with a reference to them."""
    enabled: bool
    disabled_reason: str | None
    disabled_at: datetime | None
    enabled_at: datetime | None
    paused_until: datetime | None
    created_at: datetime
    updated_at: datetime
    waiting: int
    """Counted up to 1,001."""
    failed: int | None
    """Counted likewise; None in lists."""
    next_attempt_at: datetime | None
    """When the next attempt is due, or since when."""
    outcomes: list[str]
    """Statuses of the newest deliveries, the oldest first."""
    last: "LastAttempt | None"
    """The newest attempt of the last of these."""


@app.command("list")
def list_(
    subscriber: Annotated[
        str | None, typer.Option(metavar="NAME", help="Show only subscriptions of this subscriber.")
    ] = None,
    limit: Limit = 100,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List subscriptions, newest first, with what waits for each."""
    from storage import subscription_lists

    rows = servers.run_on_database(
        state, lambda connection: subscription_lists.overview(connection, subscriber=subscriber, limit=limit)
    )
    print_listing(
        [_row(row.settings, row.backlog) for row in rows],
        as_json,
        columns=("subscriber", "url", "state", "waiting", "newest outcomes", "id"),
        cells=lambda row: (
            row.subscriber or "(operator)", row.url, _state(row), _capped(row.waiting), _outcomes(row), str(row.id)
        ),
        empty="no subscriptions",
        right=("waiting",),
    )  # fmt: skip


@app.command()
def show(id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Show one subscription with its newest replays."""
    row, replays = asyncio.run(_show(state, parse_uuid(id, "ID", HINT)))
    if as_json:
        output.print_json({**vars(row), "replays": [_replay(replay) for replay in replays]})
        return
    counts = {"waiting": _capped(row.waiting), "failed": _capped(row.failed or 0), "outcomes": _outcomes(row)}
    last = (
        None if row.last is None else f"{row.last.outcome} {row.last.status_code or ''} {row.last.error or ''}".strip()
    )
    output.print_fields(vars(row) | counts | {"last": last})
    if replays:
        typer.echo()
        output.print_table(
            ("started (UTC)", "sent", "of", "state", "id"),
            [
                (moment(replay.created_at), replay.sent, replay.count, _replay_state(replay), str(replay.id))
                for replay in replays
            ],
            right=("sent", "of"),
        )


@app.command()
def enable(id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Enable a subscription. What waits for it is sent."""
    import msgspec

    def enabled(old: "Subscription") -> "Subscription":
        return msgspec.structs.replace(old, enabled=True, disabled_reason=None)

    _change("enable", id, state, as_json, enabled, "is enabled")


@app.command()
def disable(
    id: Id,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, as its subscriber sees it.")
    ] = "disabled by an operator",
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Disable a subscription. What waits for it is kept; events stored from now on are not sent to it."""
    import msgspec

    def disabled(old: "Subscription") -> "Subscription":
        return msgspec.structs.replace(old, enabled=False, disabled_reason=reason)

    _change("disable", id, state, as_json, disabled, "is disabled", note=reason)


@app.command()
def limit(
    id: Id,
    max_rate: Annotated[
        str | None, typer.Option("--max-rate", metavar="N", help="Deliveries per second; `none` for no limit.")
    ] = None,
    max_in_flight: Annotated[
        str | None, typer.Option("--max-in-flight", metavar="N", help="Deliveries in progress at the same time.")
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Change how fast a subscription is sent to."""
    import msgspec

    from ingress import outbound

    if max_rate is None and max_in_flight is None:
        raise typer.BadParameter("give --max-rate or --max-in-flight")
    changes: dict[str, object] = {}
    try:
        if max_rate is not None:
            changes["max_rate"] = outbound.parse_rate(None if max_rate == "none" else max_rate)
        if max_in_flight is not None:
            changes["max_in_flight"] = outbound.parse_in_flight(max_in_flight)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    note = ", ".join(f"{name} {'none' if value is None else value}" for name, value in changes.items())
    _change("limit", id, state, as_json, lambda old: msgspec.structs.replace(old, **changes), "has new limits", note)


@app.command("test")
def send_test(id: Id, config: ConfigFile = None, state: State = None, as_json: AsJson = False) -> None:
    """Send the newest stored event that a subscription receives to it alone."""
    from deploy import config as configuration
    from ingress import outbound
    from storage import subscriptions

    loaded = configuration.load(config, process="replay")
    id_ = parse_uuid(id, "ID", HINT)

    async def send(connection: "Connection") -> UUID:
        subscription = _existing(await subscriptions.get(connection, id_, None, share=True), id_)
        delivery = await outbound.send_test(connection, loaded, subscription)
        await record(connection, "subscriptions.test", subject=str(id_))
        return delivery

    delivery = asyncio.run(_in_transaction(state, send))
    print_result({"delivery_id": delivery}, as_json, f"delivery {delivery} sends the newest event")


@app.command("rotate-secret")
def rotate_secret(id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Make a new secret for a subscription, and print it. It is shown only now."""
    from ingress import outbound
    from storage import subscriptions
    from storage.vault import Vault

    key = servers.encryption_key(state)
    if key is None:
        raise CommandError(
            "secrets are encrypted: set CROSSDOCK_ENCRYPTION_KEY, or name the folder of `up` with --state"
        )
    vault = Vault.from_text(key)
    id_ = parse_uuid(id, "ID", HINT)

    async def rotate(connection: "Connection") -> str:
        subscription = _existing(await subscriptions.get(connection, id_, None, lock=True), id_)
        secret = await outbound.rotate(connection, vault, subscription)
        await record(connection, "subscriptions.rotate", subject=str(id_))
        return secret

    secret = asyncio.run(_in_transaction(state, rotate))
    print_result({"secret": secret}, as_json, secret)


def _change(
    action: str,
    id_: str,
    state: Path | None,
    as_json: bool,
    changed: "Callable[[Subscription], Subscription]",
    done: str,
    note: str | None = None,
) -> None:
    """Change a subscription, record that, and print it."""
    from storage import subscription_lists, subscriptions

    uuid = parse_uuid(id_, "ID", HINT)

    async def change(connection: "Connection") -> SubscriptionRow:
        old = _existing(await subscriptions.get(connection, uuid, None, lock=True), uuid)
        await subscriptions.update(connection, changed(old))
        await record(connection, f"subscriptions.{action}", subject=str(uuid), note=note)
        settings = await subscription_lists.get(connection, uuid)
        assert settings is not None
        return _row(settings, await subscription_lists.backlog(connection, uuid))

    row = asyncio.run(_in_transaction(state, change))
    print_result(row, as_json, f"{row.id} {done}")


async def _in_transaction(state: Path | None, act: "Callable[[Connection], Awaitable[T]]") -> T:
    """Do something in a transaction, and return its result. Raises CommandError."""
    from ingress.outbound import ConflictError

    async with servers.database(state) as connection, connection.transaction():
        try:
            return await act(connection)
        except ConflictError as error:
            text = str(error).rstrip(".")
            raise CommandError(text[:1].lower() + text[1:]) from None


async def _show(state: Path | None, id_: UUID) -> "tuple[SubscriptionRow, list[ReplayState]]":
    from storage import replays, subscription_lists

    async with servers.database(state) as connection:
        settings = await subscription_lists.get(connection, id_)
        if settings is None:
            raise _missing(id_)
        row = _row(settings, await subscription_lists.backlog(connection, id_))
        return row, await replays.listing(connection, id_, NEWEST_REPLAYS)


def _row(settings: "Settings", backlog: "Backlog") -> SubscriptionRow:
    names = [field.name for field in fields(SubscriptionRow)]
    values = {name: getattr(settings, name) for name in names if hasattr(settings, name)}
    return SubscriptionRow(**values, **{name: getattr(backlog, name) for name in names if hasattr(backlog, name)})


def _replay(replay: "ReplayState") -> dict[str, object]:
    import msgspec

    return {**msgspec.structs.asdict(replay), "sent": replay.sent}


def _replay_state(replay: "ReplayState") -> str:
    return "stopped" if replay.stopped_at else "running" if replay.is_open else "done"


def _state(row: SubscriptionRow) -> str:
    return "enabled" if row.enabled else f"disabled: {row.disabled_reason or 'without a reason'}"


def _capped(count: int) -> str:
    from storage.subscription_lists import MOST_COUNTED

    return f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else f"{count:,}"


def _outcomes(row: SubscriptionRow) -> str:
    counts = {status: row.outcomes.count(status) for status in dict.fromkeys(row.outcomes)}
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _existing(subscription: "Subscription | None", id_: UUID) -> "Subscription":
    if subscription is None:
        raise _missing(id_)
    return subscription


def _missing(id_: UUID) -> CommandError:
    return CommandError(f"there is no subscription {id_}: {HINT}")
