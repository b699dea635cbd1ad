"""Finding whatever has a number, an article or an id, and going straight there if there is only one."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.support import transfers
from tests.support.console import console
from tests.support.delivering import store
from tests.support.receiver import subscribe
from tests.support.storing import incoming, unreadable
from workers.store import isolate

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
async def stored(pool: asyncpg.Pool) -> dict[str, Any]:
    subscription = await subscribe(pool, "https://shop.example/in?key=hush-hush", types=["apicbase.*"])
    order = {"id": "I1", "order_number": "PO-1", "packages": [{"supplier_package": {"supplier_article_number": "ART"}}]}
    other = {**order, "id": "I2", "order_number": "PO-2"}
    await store(pool, incoming("apicbase", "purchase_order", order, seconds=1))
    await store(pool, incoming("apicbase", "purchase_order", other, seconds=2, account="beta"))
    spoilt = unreadable(b'{"orderNo": "Q-1"', f"not JSON {HOSTILE}", seconds=8)
    await isolate.write_isolating(pool, [spoilt])
    delivery = await pool.fetchval("SELECT id FROM crossdock.outbox WHERE key = 'I1'")
    return {
        "I1": await pool.fetchval("SELECT id FROM crossdock.documents WHERE key = 'I1'"),
        "event": await pool.fetchval("SELECT version_id FROM crossdock.documents WHERE key = 'I1'"),
        "message": await pool.fetchval("SELECT message_id FROM crossdock.receipts ORDER BY received_at LIMIT 1"),
        "delivery": delivery,
        "subscription": subscription,
        "quarantined": spoilt.message_id,
    }


async def test_the_only_document_is_where_one_goes(database_url: str, stored: dict[str, Any]) -> None:
    async with console(database_url) as client:
        page = f"/console/documents/{stored['I1']}"
        for text, target in (
            ("I1", page),
            (" PO-1 ", page),
            (str(stored["message"]), page),
            (str(stored["event"]), f"{page}?version=1#body"),
        ):
            answer = await client.get(f"/console/find?q={text}")
            assert (answer.status, answer.headers["Location"]) == (303, target)


async def test_several_documents_are_grouped_by_account(database_url: str, stored: dict[str, Any]) -> None:
    async with console(database_url) as client:
        page = await client.get("/console/find?q=ART")
        assert page.status == 200
        acme, beta = page.text.index("Documents of apicbase/acme"), page.text.index("Documents of apicbase/beta")
        assert beta < acme  # the newest first
        assert "I1 purchase order PO-1 1" in page.text[acme:]
        assert "article" in page.text
        assert f'href="/console/documents/{stored["I1"]}"' in page.html


@pytest.mark.parametrize(
    ("name", "path", "text"),
    [
        ("delivery", "/console/deliveries/", "purchase order I1, pending, 0 attempts"),
        ("subscription", "/console/subscriptions/", "https://shop.example/in, enabled"),
        ("quarantined", "/console/quarantine/", f"not JSON {HOSTILE}"),
    ],
)
async def test_everything_else_is_found_by_its_id(
    database_url: str, stored: dict[str, Any], name: str, path: str, text: str
) -> None:
    async with console(database_url) as client:
        page = await client.get(f"/console/find?q={str(stored[name]).upper()}")
        assert page.status == 200
        assert f'href="{path}{stored[name]}"' in page.html
        assert text in page.text.replace(" ,", ",")
        assert "hush-hush" not in page.html
        assert HOSTILE not in page.html


async def test_what_is_written_in_another_case_is_offered(database_url: str, stored: dict[str, Any]) -> None:
    async with console(database_url) as client:
        page = await client.get("/console/find?q=po-1")
        assert "Nothing is called po-1; PO-1 is." in page.text
        assert 'href="/console/find?q=PO-1"' in page.html
        assert "Upper and lower case matter" in page.text
        assert "in capitals" in (await client.get("/console/find?q=po-7")).text


async def test_a_transfer_is_offered_before_its_documents(pool: asyncpg.Pool, database_url: str) -> None:
    orders = [transfers.transfer(channelOrderId=number, purchaseOrderNumber="PO-9") for number in ("STO1", "STO2")]
    await transfers.store(pool, *(("stock_transfer_order", order) for order in orders))
    async with console(database_url) as client:
        page = await client.get("/console/find?q=PO-9")
        assert page.html.index('href="/console/transfers/STO1?account=acme"') < page.html.index("/console/documents/")


async def test_nothing_says_what_was_searched_and_looks_into_quarantine_on_request(
    database_url: str, stored: dict[str, Any]
) -> None:
    async with console(database_url) as client:
        page = await client.get("/console/find?q=Q-1")
        assert "Nothing has this as its number, article or id." in page.text
        assert "400 days" in page.text
        assert "Not searched are parts of a number" in page.text
        assert 'href="/console/find?q=Q-1&amp;quarantined=1"' in page.html
        page = await client.get("/console/find?q=Q-1&quarantined=1")
        assert f'href="/console/quarantine/{stored["quarantined"]}"' in page.html
        page = await client.get("/console/find?q=Q-77&quarantined=1")
        assert "None of the newest 1,000 messages in quarantine contains the text." in page.text


@pytest.mark.parametrize(
    "text", ["", "%20", "%00", "%ff", "x" * 3000, "%F0%9F%A6%8A", "%27%3B--", HOSTILE, str(UUID(int=5))]
)
async def test_any_text_can_be_looked_for(database_url: str, text: str) -> None:
    async with console(database_url) as client:
        for more in ("", "&quarantined=1"):
            page = await client.get(f"/console/find?q={text}{more}")
            assert page.status == 200
            assert HOSTILE not in page.html
