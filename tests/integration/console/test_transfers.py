"""The pages of transfers, and `crossdock transfers`: what is late comes first, and what disagrees is said in words."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from deploy.cli import transfers as command
from storage import progress, transfer_listing
from storage.database import Connection
from storage.transfer_listing import STATES, Selection
from tests.support.console import READ, console
from tests.support.shell import Shell
from tests.support.transfers import BLUE, RED, carton, computed, line, receipt, store, transfer

LATE, SOON = "2023-04-08T00:00:00.000Z", "2999-04-08T00:00:00.000Z"


def order(number: str, *lines: dict[str, Any], due: str | None = None, **more: Any) -> tuple[str, dict[str, Any]]:
    fields = {"deliver_by_date": due, **more.pop("fields", {})}
    return "stock_transfer_order", transfer(
        *lines, channelOrderId=number, warehouseOrderId=f"W-{number}", fields=fields, **more
    )


def of(number: str) -> dict[str, str]:
    return {"channelOrderId": number, "warehouseOrderId": f"W-{number}"}


async def fill(pool: asyncpg.Pool) -> None:
    """Store a transfer that disagrees in every way, a late one, one in order, and one with a hostile name."""
    flipped = {"note_attributes_ship_from": "819", "note_attributes_ship_to": "969"}
    await store(
        pool,
        order("STO1", due=SOON, purchaseOrderNumber="PO-77"),
        ("ship_confirmation", carton("C1", line(BLUE, 100), fields=flipped, **of("STO1"))),
        ("receipt_confirmation", receipt("R1", line(BLUE, 94, damaged_qty="5"), line(RED, "50.5"), **of("STO1"))),
        order("STO2", line(BLUE, 10), due=LATE),
        order("STO3", line(BLUE, 10), due=SOON),
        ("ship_confirmation", carton("C3", line(BLUE, 10), id="S3", **of("STO3"))),
        ("receipt_confirmation", receipt("R3", line(BLUE, 10), id="S3", **of("STO3"))),
        order("<script>/..", line(BLUE, 1), due=SOON),
    )
    await computed(pool)


async def test_what_is_late_comes_first_and_filters_narrow_the_list(pool: asyncpg.Pool, database_url: str) -> None:
    async with console(database_url, who=READ) as client:
        text = (await client.get("/console/transfers")).text
        assert "There are no transfers yet" in text
        await fill(pool)
        page = await client.get("/console/transfers")
        assert page.status == 200
        places = [page.text.index(name) for name in ("STO2", "<script>/..", "STO3", "STO1")]
        assert places == sorted(places), "the late one, then the newest activity"
        assert "d late" in page.text
        assert "PO PO-77" in page.text
        assert "direction flipped" in page.text
        assert "<script>/" not in page.html
        assert "Of 4 transfers" in page.text
        assert "ordered 2 partly received 1 received 1" in page.text
        assert "Late: acme 1" in page.text
        shown = {
            "account=acme": {"STO1", "STO2", "STO3"},
            "account=other": set(),
            "state=received&only=late": set(),
            "only=late": {"STO2"},
            "only=outstanding": {"STO1", "STO2"},
            "state=received": {"STO3"},
            "only=disagreements": {"STO1"},
            "only=disagreements&state=received": set(),
            "location=819": {"STO1", "STO2", "STO3"},
            "location=969&state=ordered": {"STO2"},
            "location=81": set(),
        }
        for query, expected in shown.items():
            text = (await client.get(f"/console/transfers?{query}")).text
            assert {name for name in ("STO1", "STO2", "STO3") if name in text} == expected, query
        assert "No transfer matches these filters" in (await client.get("/console/transfers?account=other")).text
        assert (await client.get("/console/transfers?state=lost")).status == 400
        assert (await client.get("/console/transfers?after=late~x")).status == 400
        assert (await client.get("/console/transfers?after=never~2026-11-10T12:00:00Z~1")).status == 400


async def test_one_transfer_says_what_disagrees_and_links_each_line_to_its_documents(
    pool: asyncpg.Pool, database_url: str
) -> None:
    await fill(pool)
    async with console(database_url, who=READ) as client:
        page = await client.get("/console/transfers/STO1?account=acme")
        assert page.status == 200
        for words in (
            "2 lines of 2 have something that disagrees",
            "6 missing of 100 shipped",
            "5 damaged",
            "received before shipped",
            "A shipment, notice or receipt has the two locations of the order the other way round.",
            "direction flipped",
            "shipment S1/C1",
            "144.5 of 150.5 received, 6 missing, 5 damaged, 6 outstanding",
        ):
            assert words in page.text, words
        assert "on the way" not in page.html, "what did not arrive with the rest is not on the way any more"
        documents = "/console/documents?platform=channelape&amp;account=acme&amp;type=channelape."
        assert f"{documents}receipt_confirmation&amp;key=R1" in page.html
        assert f"{documents}stock_transfer_order&amp;key=STO1" in page.html
        assert "No line has anything that disagrees" in (await client.get("/console/transfers/STO3")).text
        page = await client.get("/console/transfers/%3Cscript%3E%2F..?account=acme")
        assert "Transfer <script>/.." in page.text
        assert "Nothing has been shipped, announced or received yet" in page.text
        assert (await client.get("/console/transfers/STO1?account=other")).status == 404
        await pool.execute(
            "INSERT INTO crossdock.transfer_states SELECT (s.x).* FROM (SELECT jsonb_populate_record(t, "
            '\'{"document_id": 0, "account": "other"}\') AS x FROM crossdock.transfer_states t '
            "WHERE channel_order_id = 'STO1') s"
        )
        page = await client.get("/console/transfers/STO1")
        assert (page.status, "Several accounts have a transfer STO1" in page.text) == (400, True)


async def test_a_transfer_with_too_many_documents_is_shown_without_its_lines(
    pool: asyncpg.Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(pool)
    too_long = "DO $$ BEGIN RAISE query_canceled; END $$"

    async def lines(connection: Connection, account: str, key: str) -> None:
        await connection.execute(too_long)

    monkeypatch.setattr(progress, "lines", lines)
    async with console(database_url, who=READ) as client:
        page = await client.get("/console/transfers/STO1")
        assert page.status == 200
        assert "too many documents to add up its lines" in page.text
        assert "direction flipped" in page.text


async def test_pages_say_how_far_they_are_behind(pool: asyncpg.Pool, database_url: str) -> None:
    await fill(pool)
    async with console(database_url, who=READ) as client:
        assert "behind what is stored" not in (await client.get("/console/transfers")).text
        await pool.execute(
            "INSERT INTO crossdock.transfer_changes (noted_at, document_ids) VALUES (now() - interval '5 min', '{1}')"
        )
        for path in ("/console/transfers", "/console/transfers/STO1"):
            assert "This page is 5 min behind what is stored" in (await client.get(path)).text, path


async def test_every_transfer_is_on_one_page_while_others_get_newer(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of 300 are late, all of them since the same time; the others were active at the same time."""
    await pool.execute(
        """
        INSERT INTO crossdock.transfer_states
        SELECT n, 'acme', 'STO' || n, NULL, '969', '819', 10, 0, 0, 0, 0, 10, 10, 0, 'ordered',
               CASE WHEN n % 2 = 0 THEN timestamptz '2023-04-08Z' END, NULL, '2026-11-10 12:00Z', '{}'
        FROM generate_series(1, 300) n
        """
    )
    seen: list[int] = []
    for cap, expected in ((100, 101), (200, 150)):
        monkeypatch.setattr(transfer_listing, "LATE", cap)
        async with pool.acquire() as connection:
            assert (await transfer_listing.counts(connection, Selection())).late == {"acme": expected}
    async with pool.acquire() as connection:
        after = None
        while True:
            rows = await transfer_listing.listing(connection, Selection(account="acme"), after=after, limit=37)
            if not rows:
                break
            seen += [row.document_id for row in rows]
            after = transfer_listing.place_of(rows[-1])
            await connection.execute(
                "INSERT INTO crossdock.transfer_states SELECT document_id + 1000 + $1, account, 'N' || $1, NULL, "
                "ship_from, ship_to, ordered, 0, 0, 0, 0, 10, 10, 0, state, NULL, NULL, now(), '{}' "
                "FROM crossdock.transfer_states WHERE document_id = 1",
                len(seen),
            )
    assert len(set(seen)) == len(seen)
    # Those that came while the late ones were read are newer than all others.
    before = [document for document in seen if document <= 300]
    assert sorted(before) == list(range(1, 301))
    assert [n % 2 for n in before] == [0] * 150 + [1] * 150


async def test_the_command_prints_the_rows_of_the_page(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    assert command.STATES == STATES
    await fill(pool)
    crossdock = Shell(tmp_path, DATABASE_URL=database_url)
    printed = await crossdock("transfers", "--account", "acme", "--outstanding", "--json")
    assert (printed.code, printed.err) == (0, "")
    async with pool.acquire() as connection:
        rows = await transfer_listing.listing(connection, Selection(account="acme", only="outstanding"), limit=100)
    printed_rows = json.loads(printed.out)
    assert [row["channel_order_id"] for row in printed_rows] == [row.channel_order_id for row in rows]
    assert printed_rows[0].keys() == msgspec.structs.asdict(rows[0]).keys()
    table = await crossdock("transfers", "--late")
    assert "STO2" in table.out
    assert "STO1" not in table.out
    table = await crossdock("transfers", "--disagreements")
    assert ("STO1" in table.out, "STO2" in table.out) == (True, False)
    assert (await crossdock("transfers", "--status", "lost")).code == 2


async def test_a_transfer_that_was_due_long_ago_but_lacks_nothing_is_not_late(pool: asyncpg.Pool) -> None:
    await store(
        pool,
        order("STO4", line(BLUE, 10), due=LATE),
        ("receipt_confirmation", receipt("R4", line(BLUE, 10), **of("STO4"))),
    )
    await computed(pool)
    async with pool.acquire() as connection:
        rows = await transfer_listing.listing(connection, Selection(), limit=10)
        assert await transfer_listing.listing(connection, Selection(only="late"), limit=10) == []
    assert [(row.late, row.due_at) for row in rows] == [(False, datetime(2023, 4, 8, tzinfo=UTC))]
    assert rows[0].last_activity_at - datetime(2026, 11, 10, 12, tzinfo=UTC) < timedelta(minutes=1)
