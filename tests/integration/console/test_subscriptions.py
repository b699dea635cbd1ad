"""The pages of subscriptions, and what operators do with them."""

import html
import logging
import re
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from schemas.consumers import Consumer
from storage import consumers, replays, sealed, subscriptions
from storage.database import Connection
from tests.support.console import ACT, READ, Answer, console
from tests.support.delivering import receipt, store
from tests.support.ledger import attempt, deliver, document
from tests.support.receiver import VAULT, subscribe

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202e'
URL = "https://a.example/hook?key=hidden-value"


def hidden_fields(answer: Answer) -> list[tuple[str, str]]:
    """Return the hidden fields of a page that asks for confirmation."""
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', answer.html)
    return [(name, html.unescape(value)) for name, value in fields]


async def recorded(database: Connection) -> list[tuple[Any, ...]]:
    """Return the recorded actions except log-ins."""
    rows = await database.fetch(
        "SELECT operator, action, subject, count, note, outcome FROM crossdock.actions "
        "WHERE action <> 'log-in' ORDER BY id"
    )
    return [tuple(row) for row in rows]


async def test_the_list_says_who_is_told_and_who_is_not(database: asyncpg.Connection, database_url: str) -> None:
    first = await subscribe(database, URL, subscriber="boards")
    stored = await document(database, "R-1")
    for minute, status in enumerate(("delivered", "delivered", "failed", "superseded")):
        await deliver(database, first, stored, status=status, minutes=minute, attempts=1)
    await attempt(database, await deliver(database, first, stored, minutes=9, attempts=3), 3)
    await database.execute("UPDATE crossdock.outbox SET next_attempt_at = now() - interval '3 hours'")
    await subscribe(database, "https://b.example/", subscriber="other", enabled=False)
    await database.execute("UPDATE crossdock.subscribed SET disabled_reason = $1 WHERE NOT enabled", HOSTILE)
    await subscribe(database, "https://c.example/", subscriber="left")
    await consumers.add(database, Consumer(name="warehouse", types=["*"], accounts=["*"]), None)
    async with console(database_url, who=READ) as client:
        page = await client.get("/console/subscriptions")
        assert page.status == 200
        for text in (
            "boards",
            "due since",
            "its server answers 500: down for repairs\u2069, since 2026-11-10 12:03:00 UTC",
            "1 retrying, 2 delivered, 1 failed, 1 superseded",
            "unknown subscriber",
        ):
            assert text in page.text, text
        assert "hidden-value" not in page.html
        assert "<script>alert" not in page.html
        assert "alert(1)" in page.text
        assert "warehouse" in page.text
        assert "The broker was not asked" in page.text
        assert "https://a.example" not in (await client.get("/console/subscriptions?state=disabled")).text
        assert "No subscription matches" in (await client.get("/console/subscriptions?subscriber=none")).text
        page = await client.get(f"/console/subscriptions/{first}")
        assert "hidden-value" not in page.html
        assert 'method="post"' not in page.html.partition("<main")[2]
        for action in ("enable", "disable", "limits", "test", "rotate", "replay", "replays/stop"):
            assert (await client.post(f"/console/subscriptions/{first}/{action}")).status == 403


async def test_a_missing_subscription_is_404(database_url: str) -> None:
    missing = "00000000-0000-4000-8000-000000000000"
    async with console(database_url) as client:
        assert "Nobody has registered a webhook" in (await client.get("/console/subscriptions")).text
        assert (await client.get(f"/console/subscriptions/{missing}")).status == 404
        for action in ("enable", "disable", "limits", "test", "rotate", "replay", "replays/stop"):
            assert (await client.post(f"/console/subscriptions/{missing}/{action}")).status == 404


async def test_settings_are_changed_and_recorded(database: asyncpg.Connection, database_url: str) -> None:
    id_ = await subscribe(database, URL, subscriber="boards")
    path = f"/console/subscriptions/{id_}"
    async with console(database_url) as client:
        answer = await client.post(f"{path}/disable", {"reason": "it answers 200 and stores nothing"})
        assert answer.headers["Location"] == f"{path}?done=disabled"
        page = await client.get(answer.headers["Location"])
        assert "The subscription is disabled." in page.text
        assert "it answers 200 and stores nothing" in page.text
        refused = await client.post(f"{path}/test")
        assert (refused.status, "enable it first" in refused.text) == (409, True)
        assert (await client.post(f"{path}/enable")).status == 303
        assert (await client.post(f"{path}/limits", {"max_rate": "2.5", "max_in_flight": "3"})).status == 303
        for wrong in ("0", "-1", "nan", "inf", "1e9", "x"):
            answer = await client.post(f"{path}/limits", {"max_rate": wrong, "max_in_flight": "3"})
            assert answer.status == 400, wrong
            assert "Nothing was changed. The rate must be a number above 0" in answer.text
            assert f'name="max_rate" type="text" value="{wrong}"' in answer.html
            assert f'data-hx-get="{path}"' in answer.html
        for wrong in ("", "0", "101", "1.5", "²"):
            answer = await client.post(f"{path}/limits", {"max_rate": "", "max_in_flight": wrong})
            assert answer.status == 400, wrong
    row = await subscriptions.get(database, id_, None)
    assert row is not None
    assert (row.enabled, row.disabled_reason, row.max_rate, row.max_in_flight) == (True, None, 2.5, 3)
    assert await recorded(database) == [
        (ACT, "subscriptions.disable", str(id_), None, "it answers 200 and stores nothing", "done"),
        (ACT, "subscriptions.enable", str(id_), None, None, "done"),
        (ACT, "subscriptions.limit", str(id_), None, "max_rate 2.5, max_in_flight 3", "done"),
    ]


async def test_a_secret_is_rotated_once_and_shown_once(
    database: asyncpg.Connection, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    id_ = await subscribe(database, URL, subscriber="boards")
    path = f"/console/subscriptions/{id_}"
    async with console(database_url) as client:
        question = await client.post(f"{path}/rotate")
        assert "Give the subscription of boards a new secret?" in question.text
        shown = await client.post(f"{path}/rotate", hidden_fields(question))
        assert shown.status == 200
        assert shown.headers["Cache-Control"] == "no-store"
        row = await subscriptions.get(database, id_, None)
        assert row is not None
        secrets = sealed.unseal(VAULT, id_, row.sealed).secrets
        assert len(secrets) == 2
        assert f'<code class="secret" data-copy>{html.escape(secrets[0].secret)}</code>' in shown.html
        # The same form sent again, as a reload does, asks again and changes nothing.
        again = await client.post(f"{path}/rotate", hidden_fields(question))
        assert "a new secret?" in again.text
        assert secrets[0].secret not in again.html
        assert secrets[0].secret not in (await client.get(path)).html
    actions = await recorded(database)
    assert actions == [(ACT, "subscriptions.rotate", str(id_), None, None, "done")]
    assert secrets[0].secret not in caplog.text


async def test_a_replay_is_counted_confirmed_started_once_and_stopped(pool: asyncpg.Pool, database_url: str) -> None:
    await store(pool, *(receipt(f"R-{n}", seconds=n, number=n + 1) for n in range(5)))
    id_ = await subscribe(pool, URL, subscriber="boards")
    path = f"/console/subscriptions/{id_}"
    period = {"from": "2026-11-10 12:00:01", "to": "2026-11-10 12:00:04"}
    async with console(database_url) as client, pool.acquire() as database:
        for wrong in ({}, {**period, "to": "2026-11-10 12:00:00"}, {**period, "types": "nonsense"}):
            answer = await client.post(f"{path}/replay", wrong)
            assert answer.status == 400
            assert "Nothing was changed." in answer.text
            assert all(f'value="{text}"' in answer.html for text in wrong.values())
        empty = await client.post(f"{path}/replay", {**period, "key": "R-99"})
        assert empty.headers["Location"] == f"{path}?done=replay_empty"
        question = await client.post(f"{path}/replay", period)
        assert "Send 3 events again?" in question.text
        assert "received from 2026-11-10 12:00:01 to 2026-11-10 12:00:04 UTC" in question.text
        assert "hidden-value" not in question.html
        assert "The subscription is disabled" not in question.text
        await pool.execute("UPDATE crossdock.subscribed SET enabled = false")
        disabled = await client.post(f"{path}/replay", period)
        assert "The subscription is disabled: what this writes waits" in disabled.text
        await pool.execute("UPDATE crossdock.subscribed SET enabled = true")
        assert await pool.fetchval("SELECT count(*) FROM crossdock.replays") == 0
        for _ in range(2):
            answer = await client.post(f"{path}/replay", [*hidden_fields(question), ("note", "after the outage")])
            assert answer.headers["Location"] == f"{path}?done=replaying.3"
        replay = await pool.fetchval("SELECT id FROM crossdock.replays")
        assert (await recorded(database)) == [(ACT, "subscriptions.replay", str(id_), 3, "after the outage", "done")]
        await replays.write_piece(database, replay, 2, lambda row: (["*"], None))
        page = await client.get(path)
        assert "0 of 3 sent, 2 waiting" in page.text
        assert "running" in page.text
        other = await subscribe(pool, URL, subscriber="boards")
        answer = await client.post(f"/console/subscriptions/{other}/replays/stop", {"replay": str(replay)})
        assert answer.status == 404
        answer = await client.post(f"{path}/replays/stop", {"replay": str(replay)})
        assert answer.headers["Location"] == f"{path}?done=replay_stopped.2"
        page = await client.get(answer.headers["Location"])
        assert "Deliveries of it that were cancelled: 2." in page.text
        assert "stopped" in page.text
        assert await replays.write_piece(database, replay, 2, lambda row: (["*"], None))
        assert (await recorded(database))[1:] == [(ACT, "replays.stop", str(replay), 2, None, "done")]
    assert await pool.fetchval("SELECT count(*) FROM crossdock.outbox") == 0
    statuses = await pool.fetch("SELECT status FROM crossdock.finished WHERE replay_id = $1", replay)
    assert [row["status"] for row in statuses] == ["cancelled", "cancelled"]


async def test_a_large_replay_needs_its_number_typed(pool: asyncpg.Pool, database_url: str) -> None:
    await store(pool, *(receipt(f"R-{n}", seconds=n / 1000, number=n + 1) for n in range(101)))
    id_ = await subscribe(pool, URL, subscriber="boards")
    async with console(database_url) as client:
        question = await client.post(f"/console/subscriptions/{id_}/replay", {"from": "2026-11-10", "key": ""})
        assert "Type the number 101 to confirm" in question.text
        for typed, status in (("100", 200), ("", 200), ("101", 303)):
            answer = await client.post(
                f"/console/subscriptions/{id_}/replay", [*hidden_fields(question), ("typed", typed)]
            )
            assert answer.status == status
        assert await pool.fetchval("SELECT count(*) FROM crossdock.replays") == 1


async def test_a_test_event_goes_to_the_subscription_alone(pool: asyncpg.Pool, database_url: str) -> None:
    id_ = await subscribe(pool, URL, subscriber="boards", enabled=True)
    async with console(database_url) as client, pool.acquire() as database:
        answer = await client.post(f"/console/subscriptions/{id_}/test")
        assert (answer.status, "Nothing is stored yet" in answer.text) == (409, True)
        await pool.execute("UPDATE crossdock.subscribed SET enabled = false")
        await store(pool, receipt("R-1"))
        await pool.execute("UPDATE crossdock.subscribed SET enabled = true")
        page = await client.post(f"/console/subscriptions/{id_}/test")
        assert (
            "Receipt confirmation \u2068R-1\u2069, version 1, received 2026-11-10 12:00:00 UTC, goes to boards"
            in page.text
        )
        assert "hidden-value" not in page.html
        assert await pool.fetchval("SELECT count(*) FROM crossdock.outbox") == 0
        answer = await client.post(f"/console/subscriptions/{id_}/test", hidden_fields(page))
        delivery = UUID(await pool.fetchval("SELECT id::text FROM crossdock.outbox"))
        assert answer.headers["Location"] == f"/console/deliveries/{delivery}?done=tested"
        page = await client.get(answer.headers["Location"])
        assert "A test is on its way" in page.text
        assert "webhook-signature (made with the subscription's secret, and not shown)" in page.text
        assert "webhook-id" in page.text
        assert "/console/documents?platform=channelape&amp;account=rothys" in page.html
        assert await recorded(database) == [(ACT, "subscriptions.test", str(id_), None, None, "done")]
