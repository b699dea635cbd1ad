"""The page of what came in, its filters, and the bytes of one message."""

from uuid import UUID

import asyncpg
import pytest

from storage import receipts
from storage.database import Connection
from storage.receipts import Place, Selection
from tests.support.console import ACT, READ, Client, console
from tests.support.storing import START, at, incoming
from workers.store import isolate

PATH = "/console/events"
MARKED = b'\xef\xbb\xbf{"channelOrderId": "STO1", "additionalFields": {"receipt_id": "R1"}}'
"""A body after a byte order mark."""


async def fill(pool: asyncpg.Pool) -> None:
    """Store an order that comes, comes again, and changes, another of a second account, and an unusual body."""
    order = {"id": "I1", "order_number": "PO-1"}
    batch = [
        incoming("apicbase", "purchase_order", order, seconds=1, account="acme"),
        incoming("apicbase", "purchase_order", order, seconds=2, account="acme"),
        incoming("apicbase", "purchase_order", {**order, "comment": "changed"}, seconds=3, account="acme"),
        incoming("apicbase", "purchase_order", {"id": "<b>I2", "order_number": "PO-2"}, seconds=4, account="other"),
        incoming("channelape", "receipt_confirmation", MARKED, seconds=5, account="shop"),
    ]
    for message in batch:
        await isolate.write_isolating(pool, [message])


def kinds(text: str) -> list[str]:
    return [word for word in text.split() if word in ("new", "changed", "repeated")][2:]


async def test_the_newest_messages_and_what_they_brought(pool: asyncpg.Pool, database_url: str) -> None:
    async with console(database_url, who=READ) as client:
        assert "Nothing has been received yet" in (await client.get(PATH)).text
        await fill(pool)
        page = await client.get(PATH)
        assert (page.status, "Download" in page.text) == (200, False)
        assert kinds(page.text) == ["new", "new", "changed", "repeated", "new"]
        assert "byte order mark" in page.text
        assert "5 shown" in page.text
        assert "<b>I2" in page.text
        assert "<b>I2" not in page.html
        assert "/console/documents?platform=apicbase&amp;account=acme&amp;type=apicbase.purchase_order&amp;key=I1" in (
            page.html
        )
        shown = {
            "account=apicbase/acme": ["changed", "repeated", "new"],
            "account=apicbase/nobody": [],
            "type=apicbase.purchase_order": ["new", "changed", "repeated", "new"],
            "flag=byte_order_mark": ["new"],
            "flag=revised&account=channelape/shop": [],
            "from=2026-11-10 12:00:03": ["new", "new", "changed"],
            "from=2026-11-10T12:00:02Z&to=2026-11-10T12:00:04Z": ["changed", "repeated"],
            "from=2026-11-10T13:00:03%2B01:00&account=apicbase/acme": ["changed"],
        }
        for query, expected in shown.items():
            assert kinds((await client.get(f"{PATH}?{query}")).text) == expected, query
        assert "No stored message matches these filters" in (await client.get(f"{PATH}?type=x")).text
        for query in ("account=acme", "from=yesterday", "after=x~y"):
            assert (await client.get(f"{PATH}?{query}")).status == 400, query


async def test_a_filter_says_how_far_back_it_looked(
    pool: asyncpg.Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "WINDOW", 2)
    await fill(pool)
    async with console(database_url, who=READ) as client:
        page = await client.get(f"{PATH}?account=apicbase/acme")
        assert "0 found. Looked back to 2026-11-10 12:00:04, through 2 messages." in page.text
        further = page.html.split('<a rel="next" href="', 1)[1].split('"', 1)[0].replace("&amp;", "&")
        page = await client.get(PATH + further)
        assert kinds(page.text) == ["changed", "repeated"]
        further = page.html.split('<a rel="next" href="', 1)[1].split('"', 1)[0].replace("&amp;", "&")
        page = await client.get(PATH + further)
        assert kinds(page.text) == ["new"]
        assert "Looked back" not in page.text
        assert "Looked back" not in (await client.get(PATH)).text


async def read_all(connection: Connection, selection: Selection, pool: asyncpg.Pool) -> list[UUID]:
    """Read page by page, while another message of the same time arrives before each page."""
    seen: list[UUID] = []
    after: Place | None = None
    while True:
        listed = await receipts.newest(connection, selection, after=after, limit=51)
        seen += [row.message_id for row in listed.rows[:50]]
        if len(listed.rows) > 50:
            after = Place(listed.rows[49].received_at, listed.rows[49].message_id)
        elif listed.looked_back_to is not None:
            after = listed.looked_back_to
        else:
            return seen
        await pool.execute(
            "INSERT INTO crossdock.receipts (received_at, message_id, document_id, digest, event, flags, raw) "
            "SELECT received_at + interval '1 second', gen_random_uuid(), document_id, digest, event, flags, raw "
            "FROM crossdock.receipts LIMIT 1"
        )


@pytest.mark.parametrize(
    "selection", [Selection(), Selection(type="apicbase.purchase_order"), Selection(flag="erased")]
)
async def test_a_thousand_messages_of_one_time_are_each_on_one_page(
    pool: asyncpg.Pool, selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "WINDOW", 170)
    await isolate.write_isolating(pool, [incoming("apicbase", "purchase_order", {"id": "I1"}, number=1)])
    await pool.execute(
        """
        INSERT INTO crossdock.receipts (received_at, message_id, document_id, digest, event, flags, raw)
        SELECT received_at, md5(n::text)::uuid, document_id, digest, event,
               CASE WHEN n % 7 = 0 THEN '{erased}'::text[] ELSE '{}' END, raw
        FROM crossdock.receipts, generate_series(1, 999) n
        """
    )
    expected = await pool.fetch(
        "SELECT message_id FROM crossdock.receipts WHERE $1 OR 'erased' = ANY (flags) ORDER BY message_id DESC",
        selection.flag is None,
    )
    async with pool.acquire() as connection:
        assert await read_all(connection, selection, pool) == [row["message_id"] for row in expected]


async def recorded(pool: asyncpg.Pool) -> list[tuple[str, str, str, str]]:
    rows = await pool.fetch("SELECT operator, action, subject, outcome FROM crossdock.actions ORDER BY id")
    return [tuple(row) for row in rows if row["action"] == "events.download"]


async def send(client: Client, message: UUID, time: str) -> tuple[int, bytes, str, str]:
    """Press the button that downloads the bytes of a message."""
    async with client.session.post(
        f"{client.base}{PATH}/{message}/raw", data={"at": time}, headers={"Sec-Fetch-Site": "same-origin"}
    ) as answer:
        disposition = answer.headers.get("Content-Disposition", "")
        return answer.status, await answer.read(), answer.content_type, disposition


async def test_the_bytes_of_a_message_are_a_file_and_taking_them_is_recorded(
    pool: asyncpg.Pool, database_url: str
) -> None:
    raw = b'\xef\xbb\xbf{"id": "I1", "note": "\xc3\xa9 <script>\\u0000"} \r\n'
    await isolate.write_isolating(pool, [incoming("apicbase", "purchase_order", raw, seconds=1, number=7)])
    message = UUID(int=7)
    async with console(database_url, who=ACT) as client:
        page = await client.get(PATH)
        time = page.html.split('name="at" value="', 1)[1].split('"', 1)[0]
        assert time == at(1).isoformat()
        expected = (200, raw, "application/octet-stream", f'attachment; filename="{message}.bin"')
        assert await send(client, message, time) == expected
        assert await recorded(pool) == [(ACT, "events.download", str(message), "done")]
        assert (await send(client, message, START.isoformat()))[0] == 404
        assert (await send(client, message, "now"))[0] == 400
        assert (await send(client, message, ""))[0] == 400
        await pool.execute("UPDATE crossdock.receipts SET raw = '', flags = '{erased}'")
        assert (await send(client, message, time))[0] == 410
        assert "Download" not in (await client.get(PATH)).text
        await client.post("/console/logout")
        await client.log_in(READ)
        assert (await send(client, message, time))[0] == 403
    assert [row[3] for row in await recorded(pool)] == ["done", "refused"]
