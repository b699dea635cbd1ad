"""What could not be processed, from the list to its end."""

import base64
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from schemas import registry
from tests import pipeline
from tests.shell import Shell

WAITING = "SELECT count(*) FROM crossdock.quarantine WHERE replayed_at IS NULL AND discarded_at IS NULL"


BROKEN = b'{"type": "new_order" \xff [bold]'


async def quarantined(shell: Shell, database: asyncpg.Connection, count: int) -> list[dict[str, Any]]:
    """`quarantine list`, once so many wait."""

    async def there() -> bool:
        return bool(await database.fetchval(WAITING) == count)

    await pipeline.until(there, what=f"{count} in quarantine")
    found: list[dict[str, Any]] = (await shell("quarantine", "list", "--json")).json
    assert len(found) == count
    return found


async def test_quarantine_from_list_to_discard(shell: Shell, url: str, database: asyncpg.Connection) -> None:
    (shell.folder / "broken.json").write_bytes(BROKEN)
    for event in ("ship_confirmation", "receipt_confirmation"):
        assert (await shell("send", "channelape", event, "--file", "broken.json", "--url", url)).code == 0
    first, second = (one["id"] for one in await quarantined(shell, database, 2))
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
    assert [one["id"] for one in await quarantined(shell, database, 1)] == [second]
    assert len((await shell("quarantine", "list", "--all", "--json")).json) == 2


async def test_a_replay_gives_back_the_very_message(shell: Shell, url: str, database: asyncpg.Connection) -> None:
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


async def test_what_fails_again_is_back_on_the_list(shell: Shell, url: str, database: asyncpg.Connection) -> None:
    (shell.folder / "broken.json").write_bytes(BROKEN)
    assert (await shell("send", "ecomnow", "new_order", "--file", "broken.json", "--url", url)).code == 0
    (before,) = await quarantined(shell, database, 1)
    stored_at = await database.fetchval("SELECT stored_at FROM crossdock.quarantined")
    assert (await shell("quarantine", "replay", "--all", "--json")).json == {"replayed": [before["id"]]}

    async def back() -> bool:
        row = await database.fetchrow("SELECT replayed_at, stored_at FROM crossdock.quarantined")
        return row is not None and row["replayed_at"] is None and row["stored_at"] >= stored_at

    await pipeline.until(back, what="the message back in quarantine")
    assert [one["id"] for one in await quarantined(shell, database, 1)] == [before["id"]]


async def test_a_replay_of_something_unknown_replays_nothing(shell: Shell) -> None:
    said = await shell("quarantine", "replay", str(UUID(int=1)))
    assert said.code == 1
    assert said.err == f"crossdock: not in quarantine: {UUID(int=1)}; nothing was replayed\n"


async def test_a_replay_that_nobody_confirms_stays_on_the_list(
    tmp_path: Path, empty_amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    await database.execute(
        "INSERT INTO crossdock.quarantined (id, received_at, platform, account, event, reason, raw)"
        " VALUES ($1, now(), 'channelape', 'rothys', 'ship_confirmation', 'why', 'raw')",
        UUID(int=3),
    )
    shell = Shell(tmp_path, AMQP_URL=empty_amqp_url, DATABASE_URL=database_url)
    said = await shell("quarantine", "replay", "--all")
    assert said.code == 1
    assert said.err.startswith("crossdock: 0 of 1 replayed, then: ")
    assert await database.fetchval("SELECT replayed_at FROM crossdock.quarantined") is None
