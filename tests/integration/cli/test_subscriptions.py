"""Subscriptions on the command line: what the console's pages show and do, from the same functions."""

from pathlib import Path
from uuid import UUID

import asyncpg

from storage import actions, replays, sealed, subscriptions
from tests.support.delivering import receipt, store
from tests.support.ledger import deliver, document
from tests.support.receiver import KEY, VAULT, subscribe
from tests.support.shell import Shell

URL = "https://a.example/hook?key=hidden-value"


async def test_a_subscription_is_listed_shown_and_changed(shell: Shell, database: asyncpg.Connection) -> None:
    id_ = await subscribe(database, URL)
    await deliver(database, id_, await document(database, "R-1"), status="failed", attempts=9)
    listed = await shell("subscriptions", "list", "--json")
    (row,) = listed.json
    assert (row["id"], row["url"], row["outcomes"]) == (str(id_), "https://a.example/hook", ["failed"])
    assert "sealed" not in row
    shown = await shell("subscriptions", "show", str(id_), "--json")
    assert {**row, "failed": 1, "replays": []} == shown.json
    assert "hidden-value" not in listed.out + shown.out + (await shell("subscriptions", "list")).out

    assert (await shell("subscriptions", "disable", str(id_), "--reason", "moved")).out == f"{id_} is disabled\n"
    assert (await shell("subscriptions", "show", str(id_), "--json")).json["disabled_reason"] == "moved"
    refused = await shell("subscriptions", "test", str(id_))
    assert (refused.code, "enable it first" in refused.err) == (1, True)
    assert (await shell("subscriptions", "enable", str(id_))).code == 0
    limited = await shell("subscriptions", "limit", str(id_), "--max-rate", "2", "--max-in-flight", "3", "--json")
    assert (limited.json["enabled"], limited.json["max_rate"], limited.json["max_in_flight"]) == (True, 2.0, 3)
    limited = await shell("subscriptions", "limit", str(id_), "--max-rate", "none", "--json")
    assert (limited.json["max_rate"], limited.json["max_in_flight"]) == (None, 3)
    for wrong in (("--max-rate", "0"), ("--max-in-flight", "101"), ()):
        assert (await shell("subscriptions", "limit", str(id_), *wrong)).code == 2, wrong
    recorded = [row.action.partition(".")[2] for row in await actions.listing(database)]
    assert recorded == ["limit", "limit", "enable", "disable"]
    missing = await shell("subscriptions", "show", str(id_)[::-1])
    assert missing.code in (1, 2)


async def test_a_rotated_secret_is_printed_once(
    tmp_path: Path, amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    shell = Shell(tmp_path, AMQP_URL=amqp_url, DATABASE_URL=database_url, CROSSDOCK_ENCRYPTION_KEY=KEY)
    id_ = await subscribe(database, URL)
    printed = (await shell("subscriptions", "rotate-secret", str(id_))).out.strip()
    row = await subscriptions.get(database, id_, None)
    assert row is not None
    assert sealed.unseal(VAULT, id_, row.sealed).secrets[0].secret == printed


async def test_a_replay_is_stopped(shell: Shell, pool: asyncpg.Pool) -> None:
    await store(pool, receipt("R-1"))
    id_ = await subscribe(pool, URL, subscriber="")
    begun = await shell("replay", "--subscription", str(id_), "--from", "2026-11-10", "--json")
    replay = begun.json["replay_id"]
    async with pool.acquire() as connection:
        await replays.write_piece(connection, UUID(replay), 10, lambda row: (["*"], None))
    stopped = await shell("replay", "--stop", replay, "--json")
    assert stopped.json == {"replay_id": replay, "cancelled": 1}
    shown = await shell("subscriptions", "show", str(id_))
    assert "stopped" in shown.out
    assert (await shell("replay", "--stop", str(id_))).code == 1
    assert (await shell("replay", "--stop", replay, "--dry-run")).code == 2
    assert (await shell("replay", "--from", "2026-11-10")).code == 2
