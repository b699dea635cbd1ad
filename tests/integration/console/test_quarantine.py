"""What waits in quarantine: found, shown when asked for, published again or taken off the list."""

import re
from urllib.parse import quote_plus
from uuid import UUID

import asyncpg
import pytest
from yarl import URL

from broker.connection import connect
from ingress import quarantine as publishing
from schemas import registry
from storage import quarantine_lists
from storage.quarantine import Selection
from tests.faults.proxy import Proxy
from tests.support.console import ACT, READ, console
from tests.support.delivering import receipt, store
from tests.support.many import finished, hidden
from tests.support.pipeline import until
from tests.support.storing import incoming, unreadable
from workers.store import isolate

LIST = "/console/quarantine"
HOSTILE = '<script>alert(1)</script>"><img onerror=alert(2)>'
PLACE = "not JSON: trailing characters (byte 7)"


async def fill(
    pool: asyncpg.Pool, count: int, reason: str = PLACE, *, first: int = 0, raw: bytes = b'{"a":1}x'
) -> None:
    messages = [unreadable(raw, reason, seconds=n, number=n + 1) for n in range(first, first + count)]
    await isolate.write_isolating(pool, messages)


async def waiting(database: asyncpg.Connection) -> set[UUID]:
    rows = await database.fetch(
        "SELECT id FROM crossdock.quarantined WHERE replayed_at IS NULL AND discarded_at IS NULL"
    )
    return {row["id"] for row in rows}


async def depth(amqp_url: str) -> int:
    """Return the number of messages that wait for the store worker."""
    connection = await connect(amqp_url)
    try:
        queue = await (await connection.channel()).declare_queue("crossdock.store", passive=True)
        return queue.declaration_result.message_count or 0
    finally:
        await connection.close()


async def test_what_waits_is_grouped_filtered_and_paged(database_url: str, pool: asyncpg.Pool) -> None:
    await fill(pool, 60)
    await fill(pool, 3, HOSTILE, first=100, raw=b"\x00\x01")
    async with console(database_url) as client:
        page = await client.get(LIST)
        assert "60" in page.text
        assert "50 shown, more below" in page.text
        assert "cannot be replayed here, because this console has no connection to RabbitMQ" in page.text
        assert "Replay" not in page.text.partition("Messages cannot be")[0].replace("replays", "")
        assert HOSTILE not in page.html
        group = await client.get(f"{LIST}?account=ecomnow/acme&same_reason={PLACE.replace(' ', '+')}")
        assert group.html.count('name="id"') == 50
        assert "img onerror" not in group.text
        more = group.html.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
        assert (await client.get(LIST + more)).html.count('name="id"') == 10
        few = await client.get(f"{LIST}?reason=ONERROR&stage=unreadable")
        assert few.html.count('name="id"') == 3
        none = await client.get(f"{LIST}?event=other")
        assert "No message matches the filter" in none.text
        assert "No message was replayed or discarded" in (await client.get(f"{LIST}?state=dealt+with")).text
        assert (await client.get(f"{LIST}?stage=x")).status == 400
        back = f"{LIST}?reason=ONERROR"
        answer = await client.post(f"{LIST}/discard", {"back": back})
        assert answer.headers["Location"] == f"{back}&done=nothing_ticked"
        page = await client.get(answer.headers["Location"])
        assert "Nothing is ticked, so nothing was changed" in page.text
        assert 'value="ONERROR"' in page.html


async def test_more_messages_are_grouped_if_that_is_asked_for(database_url: str, pool: asyncpg.Pool) -> None:
    await fill(pool, quarantine_lists.GROUPED + 2)
    await fill(pool, 1, "another", first=1000)
    async with console(database_url) as client:
        page = await client.get(LIST)
        assert "Only the newest 300 messages are grouped here" in page.text
        assert 'href="?groups=more"' in page.html
        page = await client.get(f"{LIST}?groups=more")
        assert f"{PLACE} ecomnow/acme" in page.text
        assert " 302 " in page.text
        assert "are grouped here" not in page.text
        assert (await client.get(f"{LIST}?groups=x")).status == 400


async def test_a_body_is_shown_and_sent_only_when_asked_for_and_that_is_recorded(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await store(pool, receipt("R1"))
    await fill(pool, 1, raw=b'{"a":1}' + HOSTILE.encode())
    await fill(pool, 1, "not text", first=1, raw=bytes(range(256)) * 300)
    async with console(database_url) as client:
        page = await client.get(f"{LIST}/{UUID(int=1)}")
        assert "byte 7 of the body" in page.text
        assert "No stored document of this account is from the event notification" in page.text
        assert "onerror" not in page.html
        page = await client.post(f"{LIST}/{UUID(int=1)}/show")
        assert "<mark>&lt;</mark>" in page.html
        assert HOSTILE in page.text.replace("< script", "<script")
        assert "<script>alert" not in page.html
        page = await client.post(f"{LIST}/{UUID(int=2)}/show")
        assert "00000010 10 11 12 13" in page.text
        assert "bytes 0 to 65,536 of 76,800" in page.text
        answer = await client.post(f"{LIST}/{UUID(int=1)}/raw")
        assert answer.html.encode() == b'{"a":1}' + HOSTILE.encode()
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert (await client.get(f"{LIST}/{UUID(int=9)}")).status == 404
        assert (await client.post(f"{LIST}/{UUID(int=9)}/raw")).status == 404
    recorded = await database.fetch("SELECT action, subject FROM crossdock.operator_actions ORDER BY at OFFSET 1")
    assert [tuple(row) for row in recorded] == [
        ("quarantine.unmask", str(UUID(int=1))),
        ("quarantine.unmask", str(UUID(int=2))),
        ("quarantine.download", str(UUID(int=1))),
    ]
    async with console(database_url, who=READ) as client:
        page = await client.get(f"{LIST}/{UUID(int=1)}")
        assert "Show the body" not in page.text
        assert (await client.post(f"{LIST}/{UUID(int=1)}/show")).status == 403


async def test_all_of_one_reason_are_published_and_nothing_else(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection, amqp_url: str
) -> None:
    await fill(pool, 250)
    await fill(pool, 5, "another", first=1000)
    async with console(database_url, amqp_url=amqp_url) as client:
        form = {"all": "1", "account": "ecomnow/acme", "same_reason": PLACE, "back": LIST}
        page = await client.post(f"{LIST}/replay", form)
        assert "Replay 250 messages?" in page.text
        await fill(pool, 3, first=2000)  # they come in after the count
        await client.post(f"{LIST}/replay", [*hidden(page.html), ("typed", "250")])
        job = await finished(database)
        assert (job["outcome"], job["done"], job["failed"]) == ("done", 250, 0)
        assert await depth(amqp_url) == 250
        left = {UUID(int=n + 1) for n in (*range(1000, 1005), *range(2000, 2003))}
        assert await waiting(database) == left

        single = UUID(int=1001)
        answer = await client.post(f"{LIST}/replay", {"id": str(single)})
        assert answer.headers["Location"] == f"{LIST}/{single}?done=replayed"
        assert await depth(amqp_url) == 251
        await database.execute("DELETE FROM crossdock.jobs")
        page = await client.post(f"{LIST}/discard", {"all": "1", "reason": "another"})
        await client.post(f"{LIST}/discard", hidden(page.html))
        await finished(database)
        assert await waiting(database) == {UUID(int=n + 1) for n in range(2000, 2003)}
        page = await client.post(f"{LIST}/discard", {"id": str(UUID(int=2001))})
        assert "Discard this message?" in page.text
        assert "ecomnow/acme, received 2026-11-10 12:33:20 UTC, 8 B" in page.text
        assert PLACE in page.text
        assert UUID(int=2001) in await waiting(database)
        confirmed = [*hidden(page.html), ("note", "a test of theirs")]
        answer = await client.post(f"{LIST}/discard", confirmed)
        assert answer.headers["Location"].endswith("?done=discarded")
        assert (await client.post(f"{LIST}/discard", confirmed)).headers["Location"].endswith("?done=not_waiting")
        page = await client.get(f"{LIST}/{UUID(int=2001)}")
        assert re.search(r"Discarded \S+ \S+ by " + ACT, page.text)
        assert "a test of theirs" in page.text
        assert "Replay again" not in page.text  # nothing was replayed


async def test_stop_ends_a_replay_that_a_frozen_broker_does_not_confirm(
    database_url: str,
    pool: asyncpg.Pool,
    database: asyncpg.Connection,
    amqp_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Time-outs are longer here than the test waits, so that it is the stop that ends the job."""
    monkeypatch.setattr(publishing, "CONFIRM_TIMEOUT", 300.0)
    monkeypatch.setattr(publishing, "CONNECT_TIMEOUT", 300.0)
    await fill(pool, 3)
    broker = URL(amqp_url)
    proxy = Proxy(broker.host or "", broker.port or 0)
    await proxy.start()
    try:
        async with console(database_url, amqp_url=str(broker.with_port(proxy.port))) as client:
            proxy.stall()
            page = await client.post(f"{LIST}/replay", {"all": "1", "reason": PLACE})
            await client.post(f"{LIST}/replay", hidden(page.html))
            locked = "SELECT true FROM crossdock.quarantined FOR UPDATE SKIP LOCKED"

            async def is_sending() -> bool:
                return not await database.fetch(locked)

            await until(is_sending, what="the messages are being sent")
            id_ = await database.fetchval("SELECT id FROM crossdock.jobs")
            assert (await client.post(f"/console/jobs/{id_}/stop")).status == 303
            job = await finished(database)
            assert (job["outcome"], job["done"], job["failed"]) == ("stopped", 0, 0)
            assert "had not confirmed the last ones" in (await client.get("/console/actions")).text
            assert len(await waiting(database)) == 3
            proxy.heal()
    finally:
        await proxy.stop()


async def test_a_replayed_message_says_what_became_of_it(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection, amqp_url: str
) -> None:
    """The last good document is of the same event."""
    await fill(pool, 2, "it fails for a while")
    await database.execute("UPDATE crossdock.quarantined SET event = 'other' WHERE id = $1", UUID(int=2))
    body = registry.example("ecomnow", "new_order")
    good = incoming("ecomnow", "notification", body, seconds=-9, number=99)
    await isolate.write_isolating(pool, [good])
    path, other = f"{LIST}/{UUID(int=1)}", f"{LIST}/{UUID(int=2)}"
    async with console(database_url, amqp_url=amqp_url) as client:
        key = await database.fetchval("SELECT key FROM crossdock.documents WHERE account = 'acme'")
        assert f"key={quote_plus(key)}" in (await client.get(path)).html
        assert "No stored document of this account is from the event other" in (await client.get(other)).text
        for id_ in (1, 2):
            await client.post(f"{LIST}/replay", {"id": str(UUID(int=id_))})
        page = await client.get(path)
        assert re.search(r"Replayed \S+ \S+ by " + ACT + r"\. It is not stored yet", page.text)
        assert "Replay again" in page.text
        assert 'class="problem"' not in page.html
        # A store worker stores one, and puts the other back.
        stored = incoming("ecomnow", "notification", body, number=1)
        await isolate.write_isolating(pool, [stored])
        await fill(pool, 1, "it fails again", first=1)
        page = await client.get(path)
        assert re.search(r"Replayed \S+ \S+ by " + ACT + "; stored as ", page.text)
        assert f"key={quote_plus(key)}" in page.html.partition("stored as")[2].partition("</p>")[0]
        page = await client.get(other)
        assert re.search(r"It was replayed \S+ \S+ by " + ACT + " and came back", page.text)
        assert 'class="problem">it fails again' in page.html


async def test_a_broker_that_is_gone_loses_nothing(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await fill(pool, 2)
    async with console(database_url, amqp_url="amqp://guest:guest@127.0.0.1:9/x") as client:
        answer = await client.post(f"{LIST}/replay", {"id": str(UUID(int=1))})
        assert (answer.status, "RabbitMQ is unavailable" in answer.text) == (409, True)
        page = await client.post(f"{LIST}/replay", {"all": "1"})
        await client.post(f"{LIST}/replay", hidden(page.html))
        await until(lambda: database.fetchval("SELECT waits IS NOT NULL FROM crossdock.jobs"), what="the broker's turn")
        assert "RabbitMQ is unavailable" in (await client.get("/console/actions")).text
        assert len(await waiting(database)) == 2
        id_ = await database.fetchval("SELECT id FROM crossdock.jobs")
        await client.post(f"/console/jobs/{id_}/stop")
        job = await finished(database)
        assert (job["outcome"], job["done"]) == ("stopped", 0)
    async with console(database_url) as client:
        assert (await client.post(f"{LIST}/replay", {"id": str(UUID(int=1))})).status == 409
    assert "guest" not in str(await database.fetch("SELECT note FROM crossdock.actions"))


async def test_looking_is_bounded_and_says_how_far_back_it_went(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(pool, 30)
    await fill(pool, 1, "rare", first=100)
    monkeypatch.setattr(quarantine_lists, "LOOKED_AT", 20)
    rare = Selection(reason="rare")
    listing = await quarantine_lists.listing(database, rare, waiting=True, before=None, limit=5)
    assert [row.reason for row in listing.rows] == ["rare"]
    assert listing.back_to is not None
