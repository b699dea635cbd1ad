"""Identifiers and quantities with blanks and controls at their ends, where they are received and looked for."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from schemas import invisible, lenient
from schemas.platform import UnreadableError
from storage import deliveries, replays
from storage.trace import trace
from tests.support.api import OPERATOR, Client, api, config
from tests.support.delivering import receipt, store
from tests.support.shell import Shell
from workers.route.ustore.items import comparable

KEY = "STO\u00e9"
SPELLINGS = (KEY, f" {KEY}", f"{KEY}\u00a0", f"\ufeff{KEY}\t", f"{KEY}\x07", "\u3000STOe\u0301\u200b")
"""The same key with blanks, controls and invisible characters, and with its accent as a character of its own."""
SINCE = {"from": "2020-01-01T00:00:00Z"}


@pytest_asyncio.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with api(database_url) as running:
        yield running


@pytest_asyncio.fixture
async def subscription(client: Client, pool: asyncpg.Pool) -> str:
    """A subscription with one delivery of KEY and one of another key."""
    created = await client.subscribe(who=OPERATOR)
    await store(pool, receipt(KEY), receipt("OTHER", seconds=1), settings=config())
    return str(created["id"])


@pytest.mark.parametrize("ends", ["\0\0", "\x7f", "\x07", "\x01 \x02", "\u00a0\0\u200b\x1b"])
def test_controls_at_the_ends_of_an_identifier_go_and_stay_inside(ends: str) -> None:
    """magento2#10080's kin: U+0000 pads records of a fixed length; `STO1` and `STO1` with DEL were two orders."""
    for inner in ("STO1", "Caf\u00e9", "a\x07b"):
        assert lenient.identifier(f"{ends}{inner}{ends}") == inner
        assert lenient.normalized(f"{ends}{inner}{ends}") == inner
        assert comparable(f"{ends}{inner}{ends}") == inner.lower()
    assert lenient.identifier(ends) is None
    assert invisible.trimmed(ends * 100_000) == ""
    assert lenient.key(f"1{ends}", "id") == "1"
    with pytest.raises(UnreadableError):
        lenient.key("1\x002", "id")


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u3000", "\u200b", "\ufeff", "\t\r\n", "\u202f", "\0", "\x7f"])
def test_a_quantity_has_no_blanks_at_its_ends(blank: str) -> None:
    """Cellarion#437's kin: `"7\\u00a0"` was unreadable, and `" 7 "` was 7. Inside, a blank may be a separator."""
    assert lenient.number(f"{blank}7.5{blank}") == Decimal("7.5")
    assert lenient.number(f"1{blank}000") is None
    assert lenient.number(blank) is None


@pytest.mark.parametrize("text", ["\uff17", "\u0667", "1_0", "\u22125", "7\u00a0EA", "\u00bd"])
def test_other_digits_and_signs_stay_unreadable(text: str) -> None:
    assert lenient.number(text) is None


@pytest.mark.parametrize("key", SPELLINGS)
async def test_the_api_finds_a_key_however_it_is_spelt(client: Client, subscription: str, key: str) -> None:
    """viadot#1085's kin: a replay of `" STO…"` counted 0 events, and `?key=%20STO…` listed no deliveries."""
    path = f"/v1/subscriptions/{subscription}"
    assert (await client.ask("POST", f"{path}/replay", {**SINCE, "key": key, "dry_run": True}, who=OPERATOR))[:2] == (
        200,
        {"count": 1},
    )
    status, listed, _ = await client.ask("GET", f"{path}/deliveries", query={"key": key}, who=OPERATOR)
    assert (status, [row["key"] for row in listed["data"]]) == (200, [KEY])


async def test_a_replay_is_stored_with_the_key_as_it_is_compared(
    client: Client, subscription: str, pool: asyncpg.Pool
) -> None:
    """The deliver worker compares the stored key: a replay that counted one event would have sent none."""
    answers = [
        await client.ask("POST", f"/v1/subscriptions/{subscription}/replay", {**SINCE, "key": key}, who=OPERATOR)
        for key in SPELLINGS
    ]
    assert {(status, answer["count"]) for status, answer, _ in answers} == {(202, 1)}
    assert {row["key"] for row in await pool.fetch("SELECT key FROM crossdock.replays")} == {KEY}


async def test_a_blank_key_is_refused_and_an_id_may_have_blanks(client: Client, subscription: str) -> None:
    path = f"/v1/subscriptions/{subscription}"
    status, answer, _ = await client.ask("POST", f"{path}/replay", {**SINCE, "key": " \u200b"}, who=OPERATOR)
    assert (status, answer["errors"][0]["field"]) == (400, "key")
    assert (await client.ask("GET", f"{path}/deliveries", query={"key": "\u00a0"}, who=OPERATOR))[0] == 400
    assert (await client.ask("GET", f"/v1/subscriptions/%20{subscription}%C2%A0", who=OPERATOR))[0] == 200


async def test_the_command_line_finds_a_key_however_it_is_spelt(
    shell: Shell, subscription: str, database: asyncpg.Connection
) -> None:
    """`deliveries list --key` and `replay --key` showed nothing; `trace` already did."""
    replay = ("replay", "--subscription", f" {subscription}\u00a0", "--from", "2020-01-01", "--dry-run", "--key")
    for key in (SPELLINGS[1], SPELLINGS[-1]):
        assert [row["key"] for row in (await shell("deliveries", "list", "--key", key, "--json")).json] == [KEY]
        assert (await shell(*replay, key, "--json")).json["count"] == 1
        assert [document["key"] for document in (await trace(database, key))["documents"]] == [KEY]
    assert "must not be empty" in (await shell("deliveries", "list", "--key", "\u00a0")).err
    assert (await shell(*replay, " ")).code == 2


async def test_every_look_up_of_the_storage_takes_a_key_as_people_write_it(
    database: asyncpg.Connection, subscription: str
) -> None:
    everything: Any = replays.Scope(["*"], ["*"], ["*"], None)
    begin, end = [await database.fetchval(f"SELECT now() {sign} interval '10 years'") for sign in "-+"]
    for key in SPELLINGS:
        assert (await replays.count(database, everything, begin=begin, end=end, key=key)).count == 1
        rows = await deliveries.listing(database, subscriber=None, subscription=UUID(subscription), key=key)
        assert [row["key"] for row in rows] == [KEY]
