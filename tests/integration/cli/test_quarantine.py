"""What could not be processed, from the list to its end."""

import base64
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from broker import topology
from schemas import registry
from schemas import topology as names
from storage import actions
from tests.support import pipeline
from tests.support.shell import Shell

WAITING = "SELECT count(*) FROM crossdock.quarantine WHERE replayed_at IS NULL AND discarded_at IS NULL"


BROKEN = b'{"type": "new_order" \xff [bold]'


async def quarantined(shell: Shell, database: asyncpg.Connection, count: int) -> list[dict[str, Any]]:
    """`quarantine list`, once so many wait."""

    async def arrived() -> bool:
        return bool(await database.fetchval(WAITING) == count)

    await pipeline.until(arrived, what=f"{count} in quarantine")
    entries: list[dict[str, Any]] = (await shell("quarantine", "list", "--json")).json
    assert len(entries) == count
    return entries


async def test_quarantine_from_list_to_discard(shell: Shell, url: str, database: asyncpg.Connection) -> None:
    (shell.folder / "broken.json").write_bytes(BROKEN)
    for event in ("ship_confirmation", "receipt_confirmation"):
        assert (await shell("send", "channelape", event, "--file", "broken.json", "--url", url)).code == 0
    first, second = (entry["id"] for entry in await quarantined(shell, database, 2))
    listed = (await shell("quarantine", "list")).out
    assert first in listed
    assert "channelape/rothys" in listed

    shown = await shell("quarantine", "show", first)
    assert "reason" in shown.out
    assert '{"type": "new_order" \\xff [bold]' in shown.out
    assert base64.b64decode((await shell("quarantine", "show", first, "--json")).json["raw_base64"]) == BROKEN
    assert (await shell("trace", first)).out.startswith("quarantine  channelape/rothys receipt_confirmation")

    assert (await shell("quarantine", "discard", first)).out == "1 discarded\n"
    again = await shell("quarantine", "discard", first)
    assert again.code == 1
    assert f"not waiting in quarantine: {first}" in again.err
    assert [entry["id"] for entry in await quarantined(shell, database, 1)] == [second]
    (recorded,) = await actions.listing(database)
    assert (recorded.action, recorded.subject, recorded.count) == ("quarantine.discard", first, 1)
    assert len((await shell("quarantine", "list", "--all", "--json")).json) == 2


async def test_a_replay_publishes_the_original_message(shell: Shell, url: str, database: asyncpg.Connection) -> None:
    """A message that can be read today is stored, under its own id and the time when it was received."""
    id_, raw = UUID(int=7 << 64 | 7 << 76), registry.example("channelape", "ship_confirmation")
    await database.execute(
        "INSERT INTO crossdock.quarantined"
        " (id, received_at, platform, account, event, reason, content_type, traceparent, raw)"
        " VALUES ($1, now() - interval '3 hours', 'channelape', 'rothys', 'ship_confirmation', 'a bug of ours',"
        " 'application/json', $2, $3)",
        id_, f"00-{'a' * 32}-{'b' * 16}-01", raw,
    )  # fmt: skip
    assert (await shell("quarantine", "replay", str(id_))).out == "1 replayed\n"

    async def stored() -> asyncpg.Record | None:
        return await database.fetchrow("SELECT * FROM crossdock.events WHERE message_id = $1", id_)

    row = await pipeline.until(stored, what="the replayed message's row")
    waiting = await database.fetchrow("SELECT * FROM crossdock.quarantine WHERE id = $1", id_)
    assert waiting is not None
    assert waiting["replayed_at"] is not None
    assert row["received_at"] == waiting["received_at"]
    assert (row["raw"], row["content_type"], row["traceparent"]) == (
        raw,
        "application/json",
        f"00-{'a' * 32}-{'b' * 16}-01",
    )
    assert (await shell("quarantine", "list")).out == "nothing in quarantine\n"


async def test_a_replayed_message_that_fails_again_is_quarantined_again(
    shell: Shell, url: str, database: asyncpg.Connection
) -> None:
    (shell.folder / "broken.json").write_bytes(BROKEN)
    assert (await shell("send", "ecomnow", "new_order", "--file", "broken.json", "--url", url)).code == 0
    (before,) = await quarantined(shell, database, 1)
    stored_at = await database.fetchval("SELECT stored_at FROM crossdock.quarantined")
    assert (await shell("quarantine", "replay", "--all", "--yes", "--json")).json == {"replayed": [before["id"]]}

    async def back() -> bool:
        row = await database.fetchrow("SELECT replayed_at, stored_at FROM crossdock.quarantined")
        return row is not None and row["replayed_at"] is None and row["stored_at"] >= stored_at

    await pipeline.until(back, what="the message back in quarantine")
    assert [entry["id"] for entry in await quarantined(shell, database, 1)] == [before["id"]]


async def test_a_replay_of_something_unknown_replays_nothing(shell: Shell) -> None:
    result = await shell("quarantine", "replay", str(UUID(int=1)))
    assert result.code == 1
    assert result.err == f"crossdock: not in quarantine: {UUID(int=1)}; nothing was replayed\n"


async def test_a_replay_that_is_not_confirmed_stays_in_quarantine(
    tmp_path: Path, empty_amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    await database.execute(
        "INSERT INTO crossdock.quarantined (id, received_at, platform, account, event, reason, raw)"
        " VALUES ($1, now(), 'channelape', 'rothys', 'ship_confirmation', 'why', 'raw')",
        UUID(int=3),
    )
    shell = Shell(tmp_path, AMQP_URL=empty_amqp_url, DATABASE_URL=database_url)
    result = await shell("quarantine", "replay", "--all", "--yes")
    assert result.code == 1
    assert result.err.startswith("crossdock: 0 of 1 replayed, then: ")
    assert await database.fetchval("SELECT replayed_at FROM crossdock.quarantined") is None


MANY = 10_000


async def fill(database: asyncpg.Connection, count: int, stage: str, reason: str, **columns: str) -> list[UUID]:
    """Put so many messages into quarantine, whose bodies can be read today."""
    raw = registry.example("channelape", "ship_confirmation")
    values = {"platform": "channelape", "account": "rothys", "event": "ship_confirmation"} | columns
    rows = await database.fetch(
        "INSERT INTO crossdock.quarantined"
        " (id, received_at, platform, account, event, stage, attempts, reason, content_type, raw)"
        " SELECT gen_random_uuid(), now() - make_interval(secs => n), $2, $3, $4, $5, 3, $6, 'application/json', $7"
        " FROM generate_series(1, $1) AS numbers (n) RETURNING id",
        count, values["platform"], values["account"], values["event"], stage, reason, raw,
    )  # fmt: skip
    return [row["id"] for row in rows]


@pytest.mark.long
async def test_many_are_chosen_by_filter_and_replayed_in_pieces(
    shell: Shell, amqp_url: str, database: asyncpg.Connection
) -> None:
    failed = await fill(database, MANY, "failed", "TimeoutError: the database")
    await fill(database, 3, "unrouted", "no queue took it")
    await fill(database, 2, "refused", "refused: article 'X'", platform="apicbase", account="acme")
    listed = (await shell("quarantine", "list", "--stage", "refused", "--json")).json
    assert [(entry["stage"], entry["attempts"], entry["account"]) for entry in listed] == [("refused", 3, "acme")] * 2
    for filters, count in (
        (("--account", "apicbase/acme"), 2),
        (("--account", "acme", "--stage", "failed"), 0),
        (("--reason", "NO QUEUE"), 3),
        (("--reason", "100%"), 0),
    ):
        assert len((await shell("quarantine", "list", *filters, "--json")).json) == count, filters
    result = await shell("status", "--json")
    assert result.json["quarantine"] == MANY + 5
    assert result.json["quarantine_stages"]["failed"]["messages"] == MANY
    assert f"({2} refused, {MANY} failed, {3} unrouted)" in (await shell("status")).out

    refused = await shell("quarantine", "replay", "--all")
    assert (refused.code, f"{MANY + 5} messages would be replayed" in refused.err) == (1, True)
    assert "nothing was replayed: answer y, or give --yes" in refused.err
    assert (await shell("quarantine", "replay", "--stage", "nonsense")).code == 2

    # Interrupted: what was confirmed is off the list, and the rest is done by the next one.
    running = await shell.start("quarantine", "replay", "--stage", "failed")
    waiting = f"{WAITING} AND stage = 'failed'"

    async def begun() -> bool:
        return bool(await database.fetchval(waiting) < MANY)

    await pipeline.until(begun, what="the first piece")
    running.kill()
    await running.communicate()
    left = await database.fetchval(waiting)
    assert 0 < left < MANY
    assert (await shell("quarantine", "replay", "--stage", "failed")).out == f"{left} replayed\n"
    assert await database.fetchval(WAITING) == 5
    async with pipeline.running(pipeline.store(amqp_url, database_url=str(shell.env["DATABASE_URL"]))):

        async def stored() -> bool:
            return bool(await database.fetchval("SELECT count(*) >= $1 FROM crossdock.receipts", MANY))

        await pipeline.until(stored, what="every message is stored", seconds=60)
    ids = await database.fetch("SELECT message_id FROM crossdock.receipts")
    assert {row["message_id"] for row in ids} == set(failed)

    discarded = await shell("quarantine", "discard", "--all", "--yes", "--json")
    assert len(discarded.json["discarded"]) == 5
    assert await database.fetchval(WAITING) == 0
    assert await database.fetchval("SELECT count(*) FROM crossdock.quarantined WHERE raw IS NULL") == 0


async def test_a_replay_finds_its_shard(
    shell: Shell, empty_amqp_url: str, database: asyncpg.Connection, tmp_path: Path
) -> None:
    """With several shards a message without its shard would be wanted by no queue again."""
    (shell.folder / "crossdock.toml").write_text("[store]\nshards = 3\n")
    shell.env["AMQP_URL"] = empty_amqp_url
    assert (await shell("topology", "apply", "--prune")).code == 0
    await fill(database, 12, "unrouted", "no queue took it")
    assert (await shell("quarantine", "replay", "--all", "--yes")).out == "12 replayed\n"
    depths = await topology.depths(empty_amqp_url)
    assert depths["crossdock.unrouted"] == (0, 0)
    assert sum(depths[names.store_queue(shard)][0] for shard in range(3)) == 12
