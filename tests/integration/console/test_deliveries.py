"""The list of deliveries and the page of one of them, as an operator sees them."""

import re
from uuid import uuid4

import asyncpg
import pytest

from storage import delivery_lists
from tests.support.console import READ, console
from tests.support.ledger import ENDED, attempt, deliver, document
from tests.support.receiver import subscribe

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202e'


def ids(html: str) -> list[str]:
    """Return the deliveries that a list links to, in its order."""
    return re.findall(r'class="clip" href="/console/deliveries/([0-9a-f-]{36})"', html)


async def test_the_list_shows_each_status_with_its_newest_error(
    database: asyncpg.Connection, database_url: str
) -> None:
    first = await subscribe(database, "https://a.example/hook?key=hidden-value")
    other = await subscribe(database, "https://b.example/hook")
    stored = await document(database, "R-1")
    acme = await document(database, "R-2", "acme")
    by_status = {
        status: await deliver(database, first, stored, status=status, minutes=n, attempts=2)
        for n, status in enumerate(("pending", *ENDED))
    }
    foreign = await deliver(database, other, acme, status="failed", key="R-2", minutes=30)
    await attempt(database, by_status["failed"], 1, error="connection refused", status_code=None, outcome="connection")
    await attempt(database, by_status["failed"], 2)
    async with console(database_url) as client:
        page = await client.get("/console/deliveries")
        assert ids(page.html) == [str(foreign), *[str(id_) for id_ in reversed(by_status.values())]]
        assert "hidden-value" not in page.html
        assert "refused with status 500: down for repairs" in page.text
        assert "connection refused" not in page.text
        for status, id_ in by_status.items():
            page = await client.get(f"/console/deliveries?status={status}&subscription={first}")
            assert ids(page.html) == [str(id_)], status
            assert 'name="all" value="1"' in page.html
        for filters in (
            f"subscription={other}",
            "account=channelape/acme",
            "key=%20R-2 ",
            "status=failed&since=2026-11-10T12:30",
        ):
            assert ids((await client.get(f"/console/deliveries?{filters}")).html) == [str(foreign)], filters
        # It was created before the time and ended after it.
        page = await client.get("/console/deliveries?status=failed&until=2026-11-10T12:34")
        assert ids(page.html) == [str(by_status["failed"])]
        empty = await client.get("/console/deliveries?status=failed&key=unknown")
        assert "No delivery matches these filters" in empty.text
        assert (await client.get("/console/deliveries?status=none")).status == 400
        wrong = await client.get("/console/deliveries?status=failed&key=R-2&since=yesterday")
        assert wrong.status == 400
        assert "entered for since is not a time" in wrong.text
        assert all(f'value="{text}"' in wrong.html for text in ("failed", "R-2", "yesterday"))
        assert ids(wrong.html) == []
        assert (await client.get("/console/deliveries?after=nonsense")).status == 400
    async with console(database_url, who=READ) as client:
        page = await client.get("/console/deliveries?status=failed")
        assert "checkbox" not in page.html
        assert "Send" not in page.text


async def test_an_empty_list_says_how_deliveries_come_about(database_url: str) -> None:
    async with console(database_url) as client:
        assert "Nothing was delivered yet" in (await client.get("/console/deliveries")).text
        assert (await client.get(f"/console/deliveries/{uuid4()}")).status == 404
        assert (await client.get("/console/deliveries/none")).status == 404


async def test_one_delivery_shows_its_attempts_and_no_secret(database: asyncpg.Connection, database_url: str) -> None:
    """What a subscriber answers is shown as text, however it looks."""
    subscription = await subscribe(
        database, "https://a.example/hook?key=hidden-value", authorization="Basic aGlkZGVu", subscriber="boards"
    )
    stored = await document(database, HOSTILE)
    waiting = await deliver(database, subscription, stored, key=HOSTILE, attempts=2, type_=HOSTILE)
    await attempt(database, waiting, 1, response=HOSTILE.encode() + b"\xff\xfe", error=HOSTILE)
    await attempt(database, waiting, 2, response=b"x" * 10_000)
    await database.execute(
        "UPDATE crossdock.subscribed SET paused_until = now() + interval '1 hour' WHERE id = $1", subscription
    )
    superseded = await deliver(database, subscription, stored, status="superseded", minutes=1)
    async with console(database_url) as client:
        page = await client.get(f"/console/deliveries/{waiting}")
        assert page.status == 200
        for text in (page.html, (await client.get("/console/deliveries")).html):
            assert "<script>alert" not in text
            assert "<img" not in text
            assert "hidden-value" not in text
            assert "aGlkZGVu" not in text
        assert HOSTILE + "\ufffd\ufffd" in page.text.replace("  ", " ")
        assert "x" * 4096 in page.html
        assert "x" * 4097 not in page.html
        assert "its first 4,096 of 10,000 bytes" in page.text
        assert "asked for a pause" in page.text
        assert page.text.index("1. refused") < page.text.index("2. refused")
        assert "The event is older than what is kept" in page.text
        await database.execute("UPDATE crossdock.outbox SET next_attempt_at = now() - interval '1 minute'")
        assert (
            "It waits, because the subscriber's server asked for a pause; the next delivery is tried at"
            in (await client.get(f"/console/deliveries/{waiting}")).text
        )
        assert "its server asked for a pause until" in (await client.get("/console/deliveries")).text
        await database.execute("UPDATE crossdock.subscribed SET paused_until = NULL")
        page = await client.get(f"/console/deliveries/{waiting}")
        assert "because the subscriber's server answered 500" in page.text
        page = await client.get(f"/console/deliveries/{superseded}")
        assert "A newer version of the same document was stored" in page.text
        await database.execute("UPDATE crossdock.subscribed SET deleted_at = now() WHERE id = $1", subscription)
        page = await client.get(f"/console/deliveries/{superseded}")
        assert "It cannot be sent again: its subscription has been deleted" in page.text


async def test_a_page_examines_a_bounded_number_and_says_how_far_back(
    database: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_lists.select, "__kwdefaults__", {"before": None, "examined": 3})
    subscription = await subscribe(database, "https://a.example/hook")
    stored = await document(database, "R-1")
    acme = await document(database, "R-2", "acme")
    old = await deliver(database, subscription, acme, status="failed", key="R-2", minutes=0)
    for minute in range(1, 4):
        await deliver(database, subscription, stored, status="failed", minutes=minute)
    async with console(database_url) as client:
        page = await client.get("/console/deliveries?status=failed&account=channelape/acme")
        assert ids(page.html) == []
        assert "looked back to deliveries created 2026-11-10 12:01:00" in page.text
        following = re.search(r'rel="next" href="([^"]+)"', page.html)
        assert following is not None
        page = await client.get(following[1].replace("&amp;", "&"))
        assert ids(page.html) == [str(old)]
