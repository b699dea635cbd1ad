"""`crossdock find`, `crossdock trace` and GET /v1/find, as people use them."""

import asyncio
from typing import Any

import asyncpg
import pytest

from storage import migrate
from tests.support.api import BOARDS, OPERATOR, api
from tests.support.shell import CommandResult, Shell
from tests.support.storing import incoming, unreadable
from workers.store import isolate

CARTON = {
    "id": "S1",
    "channelOrderId": "STO1",
    "trackingNumber": "1Z999",
    "additionalFields": {"Sscc": "00340", "CartonNumber": "7"},
    "lineItems": [{"id": "1", "sku": "SKU-A", "quantity": 1}],
}
UNREADABLE = "00000000-0000-0000-0000-000000002329"


@pytest.fixture
async def stored(pool: asyncpg.Pool) -> None:
    batch = [
        incoming("channelape", "ship_confirmation", CARTON, seconds=1),
        incoming("apicbase", "purchase_order", {"id": "I1", "order_number": "PO-1"}, seconds=2),
        unreadable(b"?", "not JSON", seconds=9),
    ]
    await isolate.write_isolating(pool, batch)


@pytest.fixture
def crossdock(tmp_path: Any, database_url: str) -> Shell:
    """The command line without a broker, which it does not need here."""
    return Shell(tmp_path, DATABASE_URL=database_url)


async def test_the_command_line(crossdock: Shell, stored: None) -> None:
    commands = [
        ("find", " 1Z999 "),
        ("find", "PO-1"),
        ("find", "SKU-A", "--json"),
        ("find", UNREADABLE),
        ("find", "1z999"),
        ("find", "  "),
        ("trace", "1Z999"),
    ]
    two_at_a_time = asyncio.Semaphore(2)

    async def run(command: tuple[str, ...]) -> CommandResult:
        async with two_at_a_time:
            return await crossdock(*command)

    by_text, by_order, as_json, quarantined, unknown, blank, traced = await asyncio.gather(*map(run, commands))
    assert (by_text.code, by_text.err) == (0, "")
    assert all(word in by_text.out for word in ("documents", "S1/00340", "channelape.ship_confirmation", "number"))
    assert "I1 (order PO-1)" in by_order.out
    assert as_json.code == 0
    [document] = as_json.json["documents"]
    assert (document["platform"], document["account"], document["key"]) == ("channelape", "acme", "S1/00340")
    assert document["matched"] == ["article"]
    assert document["received_at"] == "2026-11-10T12:00:01Z"
    assert as_json.json["quarantine"] == as_json.json["messages"] == []
    assert "unreadable" in quarantined.out
    assert "not JSON" in quarantined.out
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err.startswith("crossdock: nothing is known of '1z999'")
    assert len(unknown.err.splitlines()) == 1
    assert blank.code == 2
    assert "TEXT" in blank.err
    assert (traced.code, traced.err) == (0, "")
    assert "S1/00340" in traced.out


async def test_the_api(database_url: str, stored: None) -> None:
    async with api(database_url) as client:

        async def find(text: str) -> Any:
            status, answer, headers = await client.ask("GET", "/v1/find", who=OPERATOR, query={"q": text})
            assert headers["Cache-Control"] == "no-store"
            assert status == 200, answer
            return answer

        [document] = (await find("\tSTO1 "))["documents"]
        assert (document["key"], document["matched"]) == ("S1/00340", ["number"])
        assert [row["reason"] for row in (await find(UNREADABLE))["quarantine"]] == ["not JSON"]
        nothing = await find("sto1")
        assert nothing.pop("text") == "sto1"
        assert nothing.pop("incomplete_before") is None
        assert set(map(tuple, nothing.values())) == {()}
        status, answer, _ = await client.ask("GET", "/v1/find?q=STO1", who=BOARDS)
        assert (status, "operator" in answer["detail"]) == (403, True)
        assert (await client.ask("GET", "/v1/find?q=STO1", who={}))[0] == 401
        for wrong in ("", "?q=", "?q=%20%E2%80%8E", "?q=%00", "?q=a&q=b", f"?q={'a' * 513}"):
            status, answer, _ = await client.ask("GET", f"/v1/find{wrong}", who=OPERATOR)
            assert (status, answer["errors"][0]["field"]) == (400, "q"), wrong
        status, answer, _ = await client.ask("GET", "/v1/find?p=a", who=OPERATOR)
        assert (status, answer["errors"][0]["field"]) == (400, "p")


async def test_find_reports_that_documents_are_being_indexed(
    crossdock: Shell, database: asyncpg.Connection, stored: None
) -> None:
    [migration] = [file for file in migrate.files() if file.name.endswith("_identifiers")]
    await database.execute("DROP TABLE crossdock.identifiers, crossdock.identifier_rounds")
    await database.execute("DROP FUNCTION crossdock.merge_identifiers")
    await database.execute(migration.text)
    result = await crossdock("find", "STO1")
    assert (result.code, result.err) == (0, "")
    assert "still being indexed" in result.out
