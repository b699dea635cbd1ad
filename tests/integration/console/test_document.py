"""The page of one document: its whole life, what changed, and the personal data that it hides."""

import json
import re
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from ingress.database import CHECK
from schemas import registry
from schemas.allocation import ItemAllocation
from storage import actions, erasure, sql
from tests.contract import checks
from tests.support import erasing, transfers
from tests.support.console import READ, console
from tests.support.console import config as console_config
from tests.support.delivering import store
from tests.support.receiver import config, subscribe
from tests.support.storing import at, incoming
from workers.store import isolate

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


async def path_of(pool: asyncpg.Pool, key: str, type_: str | None = None) -> str:
    """Return the path of a document's page."""
    id_ = await pool.fetchval(
        "SELECT id FROM crossdock.documents WHERE key = $1 AND ($2::text IS NULL OR type = $2)", key, type_
    )
    return f"/console/documents/{id_}"


async def test_every_example_has_a_page_at_two_addresses(pool: asyncpg.Pool, database_url: str, fifth: str) -> None:
    cases = checks.cases()
    batch = [
        incoming(case.platform.name, case.event.name, case.raw, account=case.example, seconds=n)
        for n, case in enumerate(cases)
    ]
    await isolate.write_isolating(pool, batch)
    async with console(database_url) as client:
        for case in cases:
            expected = case.expected
            page = await client.get(
                f"/console/documents?platform={case.platform.name}&account={case.example}"
                f"&type={expected['type']}&key={expected['key'].replace('/', '%2F')}"
            )
            assert page.status == 200, page.text
            assert "Received once, 1 version. No subscription receives it." in page.text
            for article in (
                expected.get("articles", []) if expected["type"] != "channelape.receipt_confirmation" else []
            ):
                assert article in page.text
            for flag in expected.get("flags", []):
                assert flag in page.text
            short = re.search(r'action="(/console/documents/\d+)/erase"', page.html)
            assert short is not None
            assert expected["key"] in (await client.get(short[1])).text


async def test_a_transfer_shows_its_progress_and_what_disagrees(pool: asyncpg.Pool, database_url: str) -> None:
    fields = {"received_qty": "90", "damaged_qty": "5"}
    await transfers.store(
        pool,
        ("stock_transfer_order", transfers.transfer(fields={"deliver_by_date": "2023-04-08T00:00:00Z"})),
        ("advanced_ship_notice", transfers.carton("C1", transfers.line(transfers.BLUE, 100))),
        ("ship_confirmation", transfers.carton("C1", transfers.line(transfers.BLUE, 100))),
        ("receipt_confirmation", transfers.receipt("R1", transfers.line(transfers.BLUE, 100, **fields))),
    )
    await transfers.computed(pool)
    async with console(database_url) as client:
        page = await client.get(await path_of(pool, "STO1"))
        assert re.search(
            r"\d+ d late, partly received: 90 of 150.5, 10 missing, 50.5 not shipped yet, 5 damaged. Received",
            page.text,
        )
        assert "Progress of transfer STO1" in page.text
        assert 'href="/console/transfers/STO1?account=acme"' in page.html
        assert "10 missing of 100 shipped" in page.text
        assert "5 damaged" in page.text
        assert "90 of 100 received" in page.text
        related = page.text.partition("Related documents")[2].partition("Body of version")[0]
        for text in ("S1/C1 ship confirmation", "S1/C1 advanced ship notice", "R1 receipt confirmation"):
            assert text in related
        # A shipment shows how far its transfer is, and leads to it.
        page = await client.get(await path_of(pool, "S1/C1", "channelape.ship_confirmation"))
        assert "Progress of transfer STO1" in page.text
        assert f'href="{await path_of(pool, "STO1")}"' in page.html


async def test_what_was_in_quarantine_is_part_of_its_life(pool: asyncpg.Pool, database_url: str) -> None:
    await isolate.write_isolating(pool, [incoming("apicbase", "purchase_order", {"id": "I1"}, seconds=0, number=7)])
    await pool.execute(
        "INSERT INTO crossdock.quarantined (id, platform, account, event, reason, received_at, raw, stage, "
        "replayed_at) VALUES ($1, 'apicbase', 'acme', 'purchase_order', $2, $3, '', 'failed', $4)",
        UUID(int=7),
        f"no such article {HOSTILE}",
        at(0),
        at(60),
    )
    async with console(database_url) as client:
        page = await client.get(await path_of(pool, "I1"))
        life = page.text.partition("What happened")[2].partition("Versions")[0]
        assert life.index("quarantined no such article <script>") < life.index("replayed published again")
        assert HOSTILE not in page.html
        assert f'href="/console/quarantine/{UUID(int=7)}"' in page.html


async def test_cancelled_lines_of_an_order(pool: asyncpg.Pool, database_url: str) -> None:
    batch = [
        incoming("ecomnow", "notification", registry.example("ecomnow", name), seconds=n)
        for n, name in enumerate(("new_order", "order_cancellation"))
    ]
    await isolate.write_isolating(pool, batch)
    async with console(database_url) as client:
        page = await client.get(await path_of(pool, "1000-4612", "ecomnow.new_order"))
        assert "1 cancelled" in page.text
        assert "repaired_json" in page.text
        assert '"orderNo": "1000-4612"' in page.text
        assert "order cancellation" in page.text[page.text.index("Related documents") :]


async def test_allocations_show_the_manufacturer_of_each_item_and_why(pool: asyncpg.Pool, database_url: str) -> None:
    raw = registry.example("ustore", "manufacturer_allocation")

    def answer(manufacturer: str, number: int) -> Any:
        allocations = [
            ItemAllocation("3087", manufacturer, "nearest", "2 at 5 km (10016 to 21076); 1 at 9 km"),
            ItemAllocation("3088", "1", "fallback: product"),
        ]
        return incoming("ustore", "manufacturer_allocation", raw, seconds=number, allocations=allocations)

    await isolate.write_isolating(pool, [answer("2", 1)])
    await isolate.write_isolating(pool, [answer("7", 2)])
    ustore = registry.platforms()["ustore"]
    account = msgspec.convert(
        {**ustore.demo[1], "rules": [{"name": "nearest", "nearest": ["1", "2"], "when": {"property": {"Fit": [5]}}}]},
        ustore.account,
    )
    settings = msgspec.structs.replace(console_config(), accounts={"ustore": {"acme": account}})
    async with console(database_url, settings) as client:
        page = await client.get(await path_of(pool, "5295"))
        whole = page.text.partition("Who makes what, and why")[2].partition("Deliveries")[0]
        newest, earlier = whole.split("1 earlier answer")
        assert "Notified: 7." in newest
        assert re.search(
            r"3087 .* 7 nearest property Fit is 5: the nearest of 1, 2 2 at 5 km \(••••\); 1 at 9 km", newest
        )
        assert re.search(r"3088 .* 1 Hanover Annex fallback: product no rule matched: .* The rule matched\.", newest)
        assert re.search(r"3087 .* 2 test2 Manufacturer nearest", earlier)
        assert "item 3087 to manufacturer 7 by nearest (2 at 5 km (••••); 1 at 9 km)" in page.text


async def deliver(
    pool: asyncpg.Pool, subscription: UUID, outcomes: list[tuple[str, int | None, str | None]], status: str = "pending"
) -> UUID:
    """Record attempts of the only pending delivery to a subscription, and end it unless it is pending."""
    id_ = await pool.fetchval("SELECT id FROM crossdock.outbox WHERE subscription_id = $1", subscription)
    for number, (outcome, code, error) in enumerate(outcomes, 1):
        await pool.execute(
            """INSERT INTO crossdock.attempts (
                delivery_id, at, attempt, outcome, status_code, error, duration_ms, response
            ) VALUES ($1, $2, $3, $4, $5, $6, 12.3, $7)""",
            id_,
            at(number),
            number,
            outcome,
            code,
            error,
            b"" if outcome == "delivered" else b'{"error":\n "<b>ticket WMS-481\xff"}',
        )
    await pool.execute(
        "UPDATE crossdock.outbox SET attempts = $2, next_attempt_at = now() + interval '12.5 min' WHERE id = $1",
        id_,
        len(outcomes),
    )
    if status != "pending":
        await pool.execute(
            """WITH gone AS (DELETE FROM crossdock.outbox WHERE id = $1 RETURNING *)
            INSERT INTO crossdock.finished (id, subscription_id, created_at, received_at, event_id, message_id,
                document_id, version, attempts, type, key, status)
            SELECT id, subscription_id, created_at, received_at, event_id, message_id, document_id, version, attempts,
                   type, key, $2 FROM gone""",
            id_,
            status,
        )
    return UUID(str(id_))


async def test_deliveries_have_a_row_per_subscription_and_buttons_that_send_again(
    pool: asyncpg.Pool, database_url: str
) -> None:
    good, slow = [
        await subscribe(pool, f"https://{name}.example/in?key=hush-hush", subscriber=name) for name in ("good", "slow")
    ]
    settings = config()
    names = dict.fromkeys(("good", "slow"), settings.subscribers["demo"])
    settings = msgspec.structs.replace(settings, subscribers=names)
    await store(pool, incoming("apicbase", "purchase_order", {"id": "I1"}, seconds=0), settings=settings)
    await deliver(pool, good, [("delivered", 200, None)], "delivered")
    waiting = await deliver(pool, slow, [("refused", 503, HOSTILE), ("timeout", None, None), ("refused", 503, HOSTILE)])
    async with console(database_url) as client:
        path = await path_of(pool, "I1")
        page = await client.get(path)
        assert (
            "Received once, 1 version. Delivered to 1 of 2 subscribers; slow refused it 3 times, next try in 12 min."
        ) in page.text
        assert "https://slow.example/in" in page.text
        assert "hush-hush" not in page.html
        assert HOSTILE not in page.html
        assert f'503: {HOSTILE}, with the answer: {{"error": "<b>ticket WMS-481\ufffd"}}' in page.text
        assert "<b>" not in page.html
        assert page.html.count('class="status dot bad"') == 3
        form = page.html[page.html.index('action="/console/deliveries/cancel"') :]
        assert f'name="id" value="{waiting}"' in form
        assert f'name="back" value="{path}"' in form
        assert page.html.count('action="/console/deliveries/retry"') == 2
        assert f'href="/console/deliveries/{waiting}"' in page.html  # each attempt of the timeline leads there
        await client.log_in(READ)
        page = await client.get(path)
        assert "/console/deliveries/retry" not in page.html
        assert "/erase" not in page.html
        assert "/unmask" not in page.html


async def test_versions_are_compared_and_bodies_chosen(pool: asyncpg.Pool, database_url: str) -> None:
    lines = [{"id": "1", "sku": "A", "quantity": 1.50}, {"id": "2", "sku": "B", "quantity": 2}]
    bodies: list[Any] = [
        {"channelOrderId": "STO1", "lineItems": lines},
        {"channelOrderId": "STO1", "lineItems": lines[::-1]},
        {"channelOrderId": "STO1", "status": "SHIPPED", "lineItems": [{**lines[1], "quantity": 3}, lines[0]]},
    ]
    for n, body in enumerate(bodies):
        await isolate.write_isolating(pool, [incoming("channelape", "stock_transfer_order", body, seconds=n * 3600)])
    async with console(database_url) as client:
        path = await path_of(pool, "STO1")
        text = (await client.get(path)).text
        assert "What changed from version 2 to version 3" in text
        assert 'status added – "SHIPPED"' in text
        assert "lineItems[id 2].quantity changed 2 3" in text
        assert "lineItems[id 1]" not in text
        assert "1 h later" in text
        text = (await client.get(f"{path}?a=1&b=2&version=1")).text
        assert "Both hold the same values." in text
        assert "Body of version 1" in text
        assert "SHIPPED" not in text[text.index("Body of version 1") :]
        assert "Version 9 is not stored." in (await client.get(f"{path}?a=9&b=3")).text
        for wrong in ("a=x", "b=0", "version=99999999999", "version=²"):
            assert (await client.get(f"{path}?{wrong}")).status == 400


async def test_large_bodies_are_not_compared(pool: asyncpg.Pool, database_url: str) -> None:
    for n in range(2):
        body = {"channelOrderId": "STO1", "note": str(n) * 1_100_000}
        await isolate.write_isolating(pool, [incoming("channelape", "stock_transfer_order", body, seconds=n)])
    async with console(database_url) as client:
        text = (await client.get(await path_of(pool, "STO1"))).text
        assert "Download version 1 Download version 2" in text
        assert "Version 1 is too large to be compared: download both." in text or "Version 2 is too large" in text
        assert "The body is too large to be shown: download it." in text


async def test_personal_data_are_dots_until_they_are_asked_for(pool: asyncpg.Pool, database_url: str) -> None:
    await isolate.write_isolating(pool, [erasing.print_order("7", seconds=0, number=1)])
    await isolate.write_isolating(pool, [erasing.print_order("7", seconds=1, number=2, name="Zoe Quillfeather")])
    async with console(database_url) as client:
        path = await path_of(pool, "7")
        for who in (None, READ):
            if who is not None:
                await client.log_in(who)
            page = await client.get(path)
            assert "What changed from version 1 to version 2" in page.text
            assert not any(trace in page.text for trace in erasing.TRACES)
            assert "21076" not in page.text
            assert "••••" in page.text
        assert (await client.post(f"{path}/unmask", {"version": "1"})).status == 403
        await client.log_in("anna")
        page = await client.post(f"{path}/unmask", {"version": "1", "a": "1", "b": "2"})
        assert page.status == 200
        for text in (erasing.NAME, erasing.STREET, erasing.EMAIL, "21076", "Zoe Quillfeather", "As received"):
            assert text in page.text
        assert page.headers["Cache-Control"] == "no-store"
        page = await client.get(path)
        assert not any(trace in page.text for trace in erasing.TRACES)
    async with pool.acquire() as connection:
        rows = await actions.listing(connection, action="documents.unmask")
    assert [(row.operator, row.outcome) for row in rows] == [("anna", "done"), (READ, "refused")]
    assert rows[0].subject == "ustore.manufacturer_allocation 7 (ustore/acme)"


async def test_a_body_that_is_not_json_is_hidden_and_shown_as_bytes(pool: asyncpg.Pool, database_url: str) -> None:
    raw = b'{"channelOrderId": "STO9", "customer": {"name": "\xff\xfe"}}'
    await isolate.write_isolating(pool, [incoming("channelape", "stock_transfer_order", raw, seconds=0)])
    async with console(database_url) as client:
        path = await path_of(pool, "STO9")
        page = await client.get(path)
        assert "not_json" in page.text
        assert "This body is not JSON, so that all of it is hidden." in page.text
        shown = await client.post(f"{path}/unmask", {})
        assert "7b 22 63 68 61 6e 6e 65 6c 4f 72 64 65 72 49 64" in shown.text


async def test_content_is_erased_after_it_was_said_what_and_how_much(pool: asyncpg.Pool, database_url: str) -> None:
    await isolate.write_isolating(pool, [erasing.print_order("7", seconds=0, number=1)])
    async with console(database_url) as client:
        path = await path_of(pool, "7")
        question = await client.post(f"{path}/erase")
        assert question.status == 200
        assert "Erase the content of 7 for good?" in question.text
        assert "1 message as received, 1 version, 1 answer to the order" in question.text
        assert await pool.fetchval("SELECT count(*) FROM crossdock.erasures") == 0
        answer = await client.post(f"{path}/erase", {"confirmed": "yes", "note": "ticket 12"})
        assert (answer.status, answer.headers["Location"]) == (303, f"{path}?done=erasing")
        page = await client.get(answer.headers["Location"])
        assert "The erasure is noted" in page.text
        assert "Its content is being erased" in page.text
        async with pool.acquire() as connection:
            # A store worker takes it at once.
            ((id_, is_check),) = await erasure.stalled(connection)
            assert not is_check
            await erasure.run(connection, id_)
            (row,) = await actions.listing(connection, action="documents.erase")
        assert (row.operator, row.count, row.note, row.outcome) == ("anna", 1, "ticket 12", "started")
        page = await client.get(path)
        assert "Its content was erased." in page.text
        assert '<span class="status off">erased</span>' in page.html
        assert "The content was erased." in page.text
        assert await erasing.traces(pool) == {}
        assert (await client.post(f"{path}/erase", {"confirmed": "yes"})).status == 409


async def test_hostile_texts_are_texts(pool: asyncpg.Pool, database_url: str) -> None:
    body = {
        "id": HOSTILE[:60],
        "order_number": HOSTILE,
        HOSTILE: HOSTILE,
        "packages": [{"stock_item": {"name": HOSTILE}, "supplier_package": {"supplier_article_number": HOSTILE[:50]}}],
    }
    for n, status in enumerate(("ORDERED", "javascript:alert(1)")):
        await isolate.write_isolating(
            pool, [incoming("apicbase", "purchase_order", {**body, "status": status}, seconds=n)]
        )
    async with console(database_url) as client:
        path = await path_of(pool, HOSTILE[:60])
        for page in (
            await client.get(path),
            await client.post(f"{path}/unmask", {}),
            await client.post(f"{path}/erase"),
        ):
            assert page.status == 200
            assert "<script>alert" not in page.html
            assert "<img" not in page.html
            assert 'href="javascript:' not in page.html


async def test_what_is_not_stored_is_said_so(database_url: str) -> None:
    async with console(database_url) as client:
        for path in ("/console/documents/1", "/console/documents/x", f"/console/documents/{10**19}"):
            assert (await client.get(path)).status == 404
        assert (await client.get("/console/documents/²")).status == 404
        assert (await client.get("/console/documents")).status == 400
        page = await client.get("/console/documents?platform=ustore&account=a&type=ustore.x&key=K")
        assert page.status == 404
        assert "There is no x K of ustore/a" in page.text


async def test_a_page_takes_six_statements(
    pool: asyncpg.Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await transfers.store(pool, ("stock_transfer_order", transfers.transfer()))
    statements: list[str] = []
    for name in ("fetch", "fetchrow", "fetchval"):
        original = getattr(asyncpg.pool.PoolConnectionProxy, name)

        async def counted(self: Any, sql: str, *values: Any, original: Any = original, **more: Any) -> Any:
            statements.append(sql)
            return await original(self, sql, *values, **more)

        monkeypatch.setattr(asyncpg.pool.PoolConnectionProxy, name, counted)
    async with console(database_url) as client:
        path = await path_of(pool, "STO1")
        await client.get(path)  # also computes what is cached for all pages
        statements.clear()
        assert (await client.get(path)).status == 200
        beside = {CHECK, sql.query("jobs", "open")}  # by the tasks that always run
        own = [statement for statement in statements if statement not in beside]
        assert 1 <= len(own) <= 6, own


BIG = {"receipts", "versions", "documents", "outbox", "finished", "attempts", "quarantined", "allocation_records"}
"""Tables that are never read from end to end."""
VALUES: dict[str, tuple[Any, ...]] = {
    "by_id": (1,),
    "by_identity": ("channelape", "rothys", "channelape.stock_transfer_order", "STO1"),
    "history": (1, 500),
    "deliveries": (1, 200, 20, 200),
    "lines": ("ecomnow", "shop", "ecomnow.new_order", "1000-4612", 500),
    "related": (1, "channelape", "rothys", "STO1", "STO1", "W1", "4600", 100),
    "contents": (1, [1, 2], 1000, 2),
    "quarantined": ("a", "a", 1000, 1000),
}


def scans(plan: dict[str, Any]) -> list[str]:
    """Return the tables of whose partitions a plan reads every page."""
    name = plan.get("Relation Name", "") if plan["Node Type"] == "Seq Scan" else ""
    below = [table for part in plan.get("Plans", []) for table in scans(part)]
    return [table for table in BIG if name == table or name.startswith(f"{table}_")] + below


async def test_no_query_reads_a_table_from_end_to_end(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    await transfers.store(pool, ("stock_transfer_order", transfers.transfer()))
    assert VALUES.keys() == sql.queries("document").keys()
    await database.execute("SET enable_seqscan = off")
    for name, values in VALUES.items():
        text = await database.fetchval(f"EXPLAIN (FORMAT JSON) {sql.query('document', name)}", *values)
        assert scans(json.loads(text)[0]["Plan"]) == [], name
