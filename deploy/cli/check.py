"""`crossdock check`: checks the configuration and every connection, and says how to fix what is wrong."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deploy.cli import output, servers
from deploy.cli.check_local import Finding, check_configuration, configured_accounts, unmatched
from deploy.cli.errors import NO_WRITES_TEXT, explain
from deploy.cli.options import AsJson, ConfigFile, State

if TYPE_CHECKING:
    from schemas.config import Config
    from schemas.destinations.guard import Guard
    from storage.subscriptions import Subscription
    from storage.vault import Vault

CLOCKS_APART = 2.0
"""Seconds between the database's clock and ours above which the difference is reported."""
BROKER_LIMIT, OLD_BROKER_LIMIT = 16 * 1024**2, 128 * 1024**2
"""Bytes of the largest message by default, from RabbitMQ 4.0 on and before. The server's setting cannot be read over
AMQP."""
MOST_SUBSCRIPTIONS = 10_000
"""Maximum number of subscriptions that are checked."""


def check(config: ConfigFile = None, state: State = None, as_json: AsJson = False) -> None:
    """Check the configuration and every connection.

    Says what is wrong and how to fix it. Covers the configuration, the routing rules, RabbitMQ and its queues,
    PostgreSQL and its schema, and whether each subscription can be served. Exits with code 1 if anything is wrong.
    """

    findings = asyncio.run(_check(config, state))
    if as_json:
        output.print_json([{"what": what, "ok": not problems, "problems": problems} for what, problems, _ in findings])
    else:
        rows = [
            (what if n == 0 else "", line)
            for what, problems, note in findings
            for n, line in enumerate(problems or [f"ok, {note}" if note else "ok"])
        ]
        output.print_table(("checked", ""), rows)
    if any(finding.problems for finding in findings):
        raise typer.Exit(1)


async def _check(path: Path | None, state: Path | None) -> list[Finding]:
    from deploy import config as configuration

    findings: list[Finding] = []
    loaded: Config | None = None
    try:
        loaded = configuration.load(path)
    except configuration.ConfigError as error:
        findings.append(Finding("configuration", [str(error)]))
    else:
        findings += check_configuration(path, loaded, state)
    findings += await asyncio.gather(
        _explained("rabbitmq", lambda: _rabbitmq(state, loaded)),
        _explained("postgresql", lambda: _postgresql(state)),
    )
    if loaded is not None and not findings[-1].problems:
        findings.append(await _explained("subscriptions", lambda: _subscriptions(state, loaded)))
    return findings


async def _explained(what: str, run: Callable[[], Awaitable[Finding]]) -> Finding:
    """Run a check; report a server that cannot be reached as a problem."""
    try:
        return await run()
    except Exception as error:
        text = explain(error)
        if text is None:
            raise
        return Finding(what, [text])


def size_notes(loaded: "Config", major: int) -> list[str]:
    """Return a note if RabbitMQ rejects bodies of `max_body` by default; AMQP doesn't show the server's setting."""
    from schemas.config import parse_size

    limit = BROKER_LIMIT if major >= 4 else OLD_BROKER_LIMIT
    if parse_size(loaded.ingress.max_body) <= limit:
        return []
    return [
        f"[ingress] max_body = {loaded.ingress.max_body!r} is more than RabbitMQ {major} takes by default "
        f"({limit // 1024**2} MiB): lower it, unless max_message_size has been raised in rabbitmq.conf"
    ]


async def _rabbitmq(state: Path | None, loaded: "Config | None") -> Finding:
    from broker import topology
    from broker.commands import connected
    from broker.declare import major_version
    from schemas.topology import topology as declared

    url = servers.amqp_url(state)
    expected = declared() if loaded is None else declared(loaded.events, shards=loaded.store.shards)
    report = await topology.inspect(url, expected)
    notes = list(report.notes)
    if loaded is not None:
        async with connected(url) as connection:
            notes += size_notes(loaded, major_version(connection))
    return Finding("rabbitmq", report.problems, "; ".join((servers.redacted(url), *notes)))


async def _postgresql(state: Path | None) -> Finding:
    from storage import migrate, roles

    url = servers.database_url(state)
    with servers.reaching("PostgreSQL", "DATABASE_URL", url):
        pending = await migrate.pending(url)
    post = [name for name in pending if name.endswith(".post")]
    problems = [f"migrations to apply: {', '.join(pending)}; run `crossdock migrate`"] if pending != post else []
    async with servers.database(state) as connection:
        now = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
        encoding = await connection.fetchval("SHOW server_encoding")
        takes_writes = await connection.fetchval("SHOW transaction_read_only") == "off"
        apart = abs(float(now) - time.time())
        absent, ungranted = await roles.absent(connection), await roles.missing(connection)
    if not takes_writes:
        problems.insert(0, NO_WRITES_TEXT)
    if encoding != "UTF8":
        problems.append(f"the database has the encoding {encoding}: create one with ENCODING 'UTF8' and migrate that")
    if apart > CLOCKS_APART:
        problems.append(
            f"the clocks of the database and of this machine are {apart:.1f} seconds apart: synchronise both (NTP), "
            "because documents are ordered by when they were received"
        )
    if ungranted and not problems:
        example = ungranted[0].statement
        problems.append(
            f"roles lack {len(ungranted)} of their privileges, such as `{example}`: run `crossdock migrate`"
        )
    note = f" ({', '.join(post)} left for `crossdock migrate --post`)" if post and not problems else ""
    note += f"; without {', '.join(absent)}: `crossdock roles` prints the SQL" if absent else ""
    return Finding("postgresql", problems, servers.redacted(url) + note)


async def _subscriptions(state: Path | None, loaded: "Config") -> Finding:
    """Check that each subscription can be decrypted with the present keys, and called under the present rules."""
    from schemas.destinations.guard import Guard
    from storage import subscriptions
    from storage.vault import Vault

    async with servers.database(state) as connection:
        rows = await subscriptions.listing(connection, None, after=None, limit=MOST_SUBSCRIPTIONS)
        if not rows and not await subscriptions.any_answers(connection):
            return Finding("subscriptions", [], "there are none")
        key = servers.encryption_key(state)
        if key is None:
            state_of_key = "empty" if "CROSSDOCK_ENCRYPTION_KEY" in os.environ else "not set"
            problem = f"CROSSDOCK_ENCRYPTION_KEY is {state_of_key}: set it to the value that api and deliver have"
            return Finding("subscriptions", [problem])
        try:
            vault = Vault.from_text(key)
        except ValueError as error:
            return Finding("subscriptions", [str(error)])
        answers = await subscriptions.count_answers_with_old_key(connection, vault)
    guard = Guard(loaded.delivery.allow_networks, loaded.delivery.allow_http)
    problems = [problem for row in rows for problem in _subscription_problems(row, loaded, vault, guard)]
    return Finding("subscriptions", problems, _subscription_note(rows, vault, answers))


def _subscription_problems(row: "Subscription", loaded: "Config", vault: "Vault", guard: "Guard") -> list[str]:
    from schemas.destinations.guard import BlockedError
    from storage import sealed
    from storage.vault import UndecryptableError

    problems = []
    accounts = configured_accounts(loaded)
    if accounts and row.enabled:
        problems += [
            f"{pattern!r} matches no configured account, so it gets nothing of it: correct it by PATCH"
            for pattern in unmatched(row.accounts, accounts)
        ]
    if row.enabled and (problem := selection_problem(row)) is not None:
        problems.append(problem)
    try:
        guard.check_url(row.url)
        sealed.unseal(vault, row.id, row.sealed)
    except (BlockedError, UndecryptableError) as error:
        problems.append(str(error))
    if row.subscriber and row.subscriber not in loaded.subscribers:
        problems.append(f"its subscriber {row.subscriber!r} is not configured, so it gets nothing")
    return [f"{row.id}: {problem}" for problem in problems]


def selection_problem(subscription: "Subscription") -> str | None:
    """Return why a subscription's types and accounts can select nothing, or None."""
    from schemas import registry
    from schemas.dialects import get_dialect
    from schemas.selection import can_select, routing_key_problem

    for pattern in subscription.types:
        if (problem := routing_key_problem(pattern)) is not None:
            return f"{problem}: correct it by PATCH"
    sent = filter(get_dialect(subscription.dialect).supports, registry.event_types())
    if not can_select(subscription.types, subscription.accounts, sent):
        return "none of its accounts has any of its types, so it gets nothing: correct it by PATCH"
    return None


def _subscription_note(rows: "Sequence[Subscription]", vault: "Vault", old_answers: int) -> str:
    old = sum(vault.needs_rotation(row.sealed) for row in rows) + old_answers
    disabled = sum(not row.enabled for row in rows)
    notes = [f"{len(rows)} of them"]
    if disabled:
        notes.append(f"{disabled} disabled")
    if old:
        notes.append(f"{old} encrypted with an old key; a deliver worker re-encrypts them within ten minutes")
    return ", ".join(notes)
