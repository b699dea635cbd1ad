"""`crossdock check`: the configuration and every connection, what is wrong, and how to mend it."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from deploy.cli.errors import explain
from deploy.cli.options import AsJson, ConfigFile, State

if TYPE_CHECKING:
    from schemas.config import Config
    from storage.subscriptions import Subscription


CLOCKS_APART = 2.0
"""Seconds between the database's clock and ours that are worth a line."""
SPARE_FILES = 100
"""Files that a process opens beside its connections."""
LITTLE_DISK = 1024**3
"""Bytes below which the disk is worth a line."""
BROKER_TAKES = 16 * 1024**2
"""Bytes of the largest message by default, from RabbitMQ 4.0 on. What the server is set to can't be asked over AMQP."""
LOOKED_AT = 10_000
"""Subscriptions, at most."""


class Finding(NamedTuple):
    """The result of one check. `problems` is empty when nothing is wrong."""

    what: str
    problems: list[str]
    note: str = ""


def check(config: ConfigFile = None, state: State = None, as_json: AsJson = False) -> None:
    """Check the configuration and every connection.

    Says what is wrong and how to fix it. Covers the configuration, the uStore rules, RabbitMQ and its queues,
    PostgreSQL and its schema, and whether each subscription can be served. Exits with code 1 if anything is wrong.
    """
    from deploy.cli import output

    found = asyncio.run(_check(config, state))
    if as_json:
        output.print_json([{"what": one.what, "ok": not one.problems, "problems": one.problems} for one in found])
    else:
        _print(found)
    if any(one.problems for one in found):
        raise typer.Exit(1)


def _print(found: list[Finding]) -> None:
    from deploy.cli.output import print_table

    rows = [
        (one.what if n == 0 else "", said)
        for one in found
        for n, said in enumerate(one.problems or [f"ok{', ' + one.note if one.note else ''}"])
    ]
    print_table(("checked", ""), rows)


async def _check(path: Path | None, state: Path | None) -> list[Finding]:
    from deploy import config as configuration

    found: list[Finding] = []
    loaded: Config | None = None
    try:
        loaded = configuration.load(path)
    except configuration.ConfigError as error:
        found.append(Finding("configuration", [str(error)]))
    else:
        found.append(_configuration(configuration.find(path), loaded))
        found += _rules(loaded)
        found += _postal_codes()
        if warnings := secrets_findings(path, loaded):
            found.append(Finding("secrets", warnings))
        if warnings := subscriber_problems(loaded):
            found.append(Finding("subscribers", warnings))
        found.append(Finding("this machine", machine_problems(loaded, _file_limit(), _free_bytes(state))))
    found += await asyncio.gather(
        _asked("rabbitmq", lambda: _rabbitmq(state, loaded)),
        _asked("postgresql", lambda: _postgresql(state)),
    )
    if loaded is not None and not found[-1].problems:
        found.append(await _asked("subscriptions", lambda: _subscriptions(state, loaded)))
    return found


def _configuration(file: Path | None, loaded: "Config") -> Finding:
    counts = {name: len(accounts) for name, accounts in loaded.accounts.items() if accounts}
    if not counts:
        problem = "no account is configured, so every webhook gets 404: add one, as in [accounts.channelape.rothys]"
        return Finding("configuration", [problem])
    accounts = ", ".join(f"{count} of {name}" for name, count in counts.items())
    return Finding("configuration", [], f"{file or 'no file, so the defaults and demo accounts'}; accounts: {accounts}")


def secrets_findings(path: Path | None, loaded: "Config") -> list[str]:
    """Return one line per suspicious secret, without showing any of them. Raises ConfigError."""
    from deploy import config as configuration

    return [*configuration.secret_warnings(path), *secrets_problems(loaded)]


def secrets_problems(loaded: "Config") -> list[str]:
    """Return one line per secret that two accounts share, without showing any of them."""
    from schemas import registry

    problems, owners = [], dict[tuple[str, str], str]()
    for platform in registry.platforms().values():
        for name, settings in loaded.accounts.get(platform.name, {}).items():
            account = f"accounts.{platform.name}.{name}"
            for secret in platform.secrets(settings):
                other = owners.setdefault((platform.name, secret.strip()), account)
                if other != account:
                    problems.append(f"{account} and {other} have the same secret: give each account its own")
    return problems


def subscriber_problems(loaded: "Config") -> list[str]:
    """Return one line per account pattern of a subscriber that matches no configured account."""
    from schemas.patterns import fits

    accounts = [f"{platform}/{name}" for platform, named in loaded.accounts.items() for name in named]
    return [
        f"subscribers.{name}: {pattern!r} matches no configured account ({', '.join(accounts) or 'there are none'}): "
        "correct the pattern, or add the account"
        for name, subscriber in loaded.subscribers.items()
        for pattern in subscriber.accounts
        if not any(fits(account, [pattern]) for account in accounts)
    ]


def machine_problems(loaded: "Config", files: int, free: int) -> list[str]:
    """Return one line per limit of this machine that is too low.

    `files`: how many files a process may open; `free`: free bytes on the disk of the state folder.
    """
    problems = []
    wanted = loaded.ingress.max_connections + SPARE_FILES
    if files < wanted:
        problems.append(
            f"a process may open {files} files, and [ingress] max_connections = {loaded.ingress.max_connections} needs "
            f"{wanted}: raise the limit (`ulimit -n {wanted}`, or LimitNOFILE of the service), or lower the setting"
        )
    if free < LITTLE_DISK:
        problems.append(
            f"{free // 1024**2} MB are free on the disk of the state folder: RabbitMQ stops taking messages when its "
            "disk is nearly full; make room"
        )
    return problems


def _file_limit() -> int:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # our processes raise the soft limit to it
    return (1 << 62) if hard == resource.RLIM_INFINITY else hard


def _free_bytes(state: Path | None) -> int:
    import shutil

    from deploy.cli import servers

    folder = servers.folder(state).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _rules(loaded: "Config") -> list[Finding]:
    from workers.route import explain as engine

    accounts = loaded.accounts.get("ustore", {})
    return [
        Finding(f"rules of ustore/{name}", engine.check(account), f"{len(account.rules)} of them")
        for name, account in accounts.items()
    ]


def _postal_codes() -> list[Finding]:
    """Return whether the operator's postal code files can be read; nothing where there are none."""
    import os

    from workers.route import distance

    folder = os.environ.get(distance.FOLDER_VARIABLE)
    if not folder:
        return []
    try:
        distance.gazetteer()
    except (OSError, ValueError) as error:
        return [Finding("postal codes", [explain(error) or f"{error}: correct the file, or leave it out"])]
    return [Finding("postal codes", [], folder)]


async def _asked(what: str, ask: Callable[[], Coroutine[Any, Any, Finding]]) -> Finding:
    """Run a check; report a server that cannot be reached as a problem of its own."""
    try:
        return await ask()
    except Exception as error:
        said = explain(error)
        if said is None:
            raise
        return Finding(what, [said])


def size_notes(loaded: "Config", major: int) -> list[str]:
    """Return a note if RabbitMQ refuses bodies of `max_body` by default; AMQP doesn't show what it is set to."""
    from schemas.config import parse_size

    if major < 4 or parse_size(loaded.ingress.max_body) <= BROKER_TAKES:
        return []
    return [
        f"[ingress] max_body = {loaded.ingress.max_body!r} is more than RabbitMQ {major} takes by default (16 MiB): "
        "lower it, unless max_message_size has been raised in rabbitmq.conf"
    ]


async def _rabbitmq(state: Path | None, loaded: "Config | None") -> Finding:
    from broker import topology
    from broker.declare import major_version
    from deploy.cli import servers
    from schemas.topology import topology as wanted

    url = servers.amqp_url(state)
    there = wanted() if loaded is None else wanted(loaded.events, shards=loaded.store.shards)
    report = await topology.inspect(url, there)
    notes = list(report.notes)
    if loaded is not None:
        async with topology.connected(url) as connection:
            notes += size_notes(loaded, major_version(connection))
    return Finding("rabbitmq", report.problems, "; ".join((servers.redacted(url), *notes)))


async def _postgresql(state: Path | None) -> Finding:
    from deploy.cli import servers
    from storage import migrate

    url = servers.database_url(state)
    with servers.reaching("PostgreSQL", "DATABASE_URL", url):
        pending = await migrate.pending(url)
    post = [name for name in pending if name.endswith(".post")]
    problems = [f"migrations to apply: {', '.join(pending)}; run `crossdock migrate`"] if pending != post else []
    async with servers.database(state) as connection:
        now = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
        encoding = await connection.fetchval("SHOW server_encoding")
        apart = abs(float(now) - time.time())
    if encoding != "UTF8":
        problems.append(f"the database has the encoding {encoding}: create one with ENCODING 'UTF8' and migrate that")
    if apart > CLOCKS_APART:
        problems.append(
            f"the clocks of the database and of this machine are {apart:.1f} seconds apart: "
            "synchronise both (NTP), for what was received later is newer"
        )
    note = f" ({', '.join(post)} left for `crossdock migrate --post`)" if post and not problems else ""
    return Finding("postgresql", problems, servers.redacted(url) + note)


def selection_problem(subscription: "Subscription") -> str | None:
    """Return why a subscription's types and accounts can select nothing, or None."""
    from schemas.consumers import known_types
    from schemas.dialects import get_dialect
    from schemas.selection import can_select, routing_key_problem

    for pattern in subscription.types:
        if (problem := routing_key_problem(pattern)) is not None:
            return problem
    sent = filter(get_dialect(subscription.dialect).supports, known_types())
    if not can_select(subscription.types, subscription.accounts, sent):
        return "no account of its has any of its types, so it gets nothing"
    return None


async def _subscriptions(state: Path | None, loaded: "Config") -> Finding:
    """Check that each subscription can be decrypted with the present keys, and called under the present rules."""
    from deploy.cli import servers
    from schemas.destinations.guard import BlockedError, Guard
    from schemas.patterns import fits
    from storage import sealed, subscriptions
    from storage.vault import UndecryptableError, Vault

    async with servers.database(state) as connection:
        rows = await subscriptions.listing(connection, None, after=None, limit=LOOKED_AT)
        if not rows and not await subscriptions.any_answers(connection):
            return Finding("subscriptions", [], "there are none")
        key = servers.encryption_key(state)
        if key is None:
            return Finding(
                "subscriptions", ["CROSSDOCK_ENCRYPTION_KEY is not set: set it to what api and deliver have"]
            )
        try:
            vault = Vault.from_text(key)
        except ValueError as error:
            return Finding("subscriptions", [str(error)])
        answers = await subscriptions.count_answers_with_old_key(connection, vault)
    guard = Guard(loaded.delivery.allow_networks, loaded.delivery.allow_http)
    problems = []
    accounts = [f"{platform}/{name}" for platform, named in loaded.accounts.items() for name in named]
    for one in rows:
        problems += [
            f"{one.id}: {pattern!r} matches no configured account, so it gets nothing of it: correct it by PATCH"
            for pattern in one.accounts
            if accounts and one.enabled and not any(fits(account, [pattern]) for account in accounts)
        ]
        if one.enabled and (problem := selection_problem(one)) is not None:
            problems.append(f"{one.id}: {problem}: correct it by PATCH")
        try:
            guard.check_url(one.url)
            sealed.unseal(vault, one.id, one.sealed)
        except (BlockedError, UndecryptableError) as why:
            problems.append(f"{one.id}: {why}")
        if one.subscriber and one.subscriber not in loaded.subscribers:
            problems.append(f"{one.id}: its subscriber {one.subscriber!r} is not configured, so it gets nothing")
    old = sum(vault.needs_rotation(one.sealed) for one in rows) + answers
    disabled = sum(not one.enabled for one in rows)
    notes = [f"{len(rows)} of them"]
    notes += [f"{disabled} disabled"] if disabled else []
    notes += [f"{old} encrypted with an old key; a deliver worker renews them within ten minutes"] if old else []
    return Finding("subscriptions", problems, ", ".join(notes))
