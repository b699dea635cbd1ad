"""The first page: what needs somebody, and that it agrees with `crossdock status`."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from ingress.console import overview as overviews
from storage import activity, overview
from storage.sql import query
from tests.integration.test_questions import nodes
from tests.support.console import READ, console
from tests.support.shell import Shell

SUBSCRIPTION = UUID(int=7)
NOWHERE = "amqp://user:hush@127.0.0.1:1/"


async def subscribe(database: asyncpg.Connection, id_: UUID = SUBSCRIPTION, reason: str | None = None) -> None:
    await database.execute(
        "INSERT INTO crossdock.subscribed (id, subscriber, url, types, accounts, dialect, max_in_flight, sealed, "
        "enabled, disabled_reason) VALUES ($1, 'acme', 'https://acme.example/in?token=hush', '{*}', '{*}', "
        "'crossdock', 1, '', $2::text IS NULL, $2)",
        id_,
        reason,
    )


async def wait_to_be_sent(
    database: asyncpg.Connection, count: int, *, due_for: timedelta, to: UUID = SUBSCRIPTION
) -> None:
    await database.execute(
        "INSERT INTO crossdock.outbox (id, subscription_id, next_attempt_at, received_at, event_id, message_id, "
        "document_id, version, type, key) SELECT gen_random_uuid(), $1, now() - $3::interval, now(), "
        "gen_random_uuid(), gen_random_uuid(), n, 1, 'channelape.receipt_confirmation', n::text "
        "FROM generate_series(1, $2) n",
        to,
        count,
        due_for,
    )


async def quarantine(database: asyncpg.Connection, count: int) -> None:
    await database.execute(
        "INSERT INTO crossdock.quarantined (id, platform, account, event, reason, received_at, raw, stage) "
        "SELECT gen_random_uuid(), 'ecomnow', 'shop', 'notification', 'not JSON', now() - interval '2 h', '', "
        "'unreadable' FROM generate_series(1, $1) n",
        count,
    )


async def receive(database: asyncpg.Connection, account: str, *hours_ago: float, each: int = 4) -> None:
    """Store the counts of messages every 15 minutes in the hours that began `hours_ago`."""
    now = datetime.now(UTC)
    starts = [now - timedelta(hours=hours) for hours in hours_ago]
    await activity.add(
        database,
        [
            (
                "channelape",
                account,
                start.replace(minute=0, second=0, microsecond=0),
                each,
                start,
                start + timedelta(minutes=15 * (each - 1)),
            )
            for start in starts
        ],
    )


async def test_nothing_wrong_is_one_line(database_url: str, amqp_url: str) -> None:
    async with console(database_url, amqp_url=amqp_url) as client:
        answer = await client.get("/console")
        assert answer.status == 200
        assert "Nothing needs you now." in answer.text
        assert "Needs you" not in answer.text
        assert "crossdock.store empty 0 0" in answer.text
        assert "All well" in (await client.get("/console/keys")).text


async def test_the_page_says_what_status_says(
    shell: Shell, database: asyncpg.Connection, database_url: str, amqp_url: str
) -> None:
    await subscribe(database)
    await subscribe(database, UUID(int=8), "410 Gone: the subscriber wants no more")
    await subscribe(database, UUID(int=9), None)
    await database.execute("UPDATE crossdock.subscribed SET enabled = false WHERE id = $1", UUID(int=9))
    await wait_to_be_sent(database, 3, due_for=timedelta(minutes=10))
    await subscribe(database, UUID(int=10))
    await wait_to_be_sent(database, 4, due_for=timedelta(minutes=9), to=UUID(int=10))
    await quarantine(database, 2)
    await receive(database, "steady", *range(7, 40))
    await receive(database, "busy", 0.9, 2, 3, 4)
    await database.execute(
        "INSERT INTO crossdock.polls (platform, account, failures, last_error, last_ok_at, last_failed_at) "
        "VALUES ('apicbase', 'kitchen', 4, '401 <b>', now() - interval '3 h', now())"
    )
    await database.execute(
        "INSERT INTO crossdock.transfer_states SELECT n, 'rothys', n::text, NULL, NULL, NULL, 1, 0, 0, 0, 0, 1, 1, 0, "
        "'ordered', now() - n * interval '1 day', NULL, now(), '{}' FROM generate_series(1, 3) n"
    )
    await database.execute(
        "INSERT INTO crossdock.transfer_states SELECT n, 'rothys', n::text, NULL, NULL, NULL, 1, 1, 0, 1, 0, 0, 0, 1, "
        "'received', NULL, NULL, now() - (n - 10) * interval '3 d', CASE n WHEN 12 THEN '{short,direction_flipped}' "
        "ELSE '{short}'::text[] END FROM generate_series(11, 13) n"
    )
    await database.execute(
        "UPDATE crossdock.outbox SET attempts = 4, created_at = now() - interval '12 min', "
        "next_attempt_at = now() + interval '1 h' WHERE key = '2' AND subscription_id = $1",
        SUBSCRIPTION,
    )
    await database.execute(
        "INSERT INTO crossdock.attempts (delivery_id, at, attempt, status_code, duration_ms, outcome, response) "
        "SELECT id, now() - n * interval '1 min', 5 - n, CASE n WHEN 1 THEN 503 ELSE 500 END, 1, 'refused', '' "
        "FROM crossdock.outbox, generate_series(1, 2) n WHERE attempts = 4"
    )
    status = (await shell("status", "--json")).json
    async with console(database_url, amqp_url=amqp_url, who=READ) as client:
        answer = await client.get("/console")
        state = await client.app.context.overview.current()
        assert "7 things need you" in answer.text
    sentences = [
        "Needs you now",
        "6 deliveries are due and not sent, the oldest for 10 min.",
        "Needs you today",
        "3 deliveries wait for acme at https://acme.example/in, the oldest for 12 min and after 4 attempts: the last "
        "was answered with 503.",
        "Nothing is sent to acme at https://acme.example/in, because it was disabled: 410 Gone",
        "apicbase/kitchen could not be polled 4 times in a row: 401 <b>",
        "The last poll that succeeded: 2026-11-",
        "channelape/steady has been quiet for 6 h: usually something comes every 15 min",
        "The last message: 2026-11-",
        "2 messages are in quarantine as unreadable, the oldest for 2 h.",
        "3 transfers are late (rothys 3), by up to 3 d.",
        "Good to know",
        "1 subscription is disabled, on request.",
        "2 transfers have documents that disagree, among those of the last 7 days: 2 short, 1 direction flipped.",
        "apicbase/kitchen cannot be polled 401 <b> 4 failures in a row; last tried 2026-11-",
    ]
    places = [answer.text.index(sentence) for sentence in sentences]
    assert places == sorted(places), "the most urgent comes first"
    assert "hush" not in answer.html
    assert "<b>" not in answer.html

    # The numbers are those of the command.
    stored = state.stored
    ours = {name: getattr(stored.deliveries, name) for name in stored.deliveries.__struct_fields__}
    assert {**ours, "oldest_due_seconds": 0} == {**status["deliveries"], "oldest_due_seconds": 0}
    assert sum(count.messages for count in stored.quarantine.values()) == status["quarantine"]
    assert stored.transfers.late == status["transfers"]["late"]
    assert [(row.account, row.messages, row.quiet) for row in stored.accounts] == [
        (row["account"], row["messages"], row["quiet"]) for row in status["accounts"]
    ]
    assert [poll.failures for poll in stored.failing_polls] == [poll["failures"] for poll in status["failing_polls"]]
    assert state.depths == {row["name"]: (row["messages"], row["consumers"]) for row in status["queues"]}


async def test_counting_ends_at_a_cap_and_the_age_is_that_of_the_oldest(
    database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    for module in ("ingress.console.overview", "ingress.console.needs", "ingress.console.pages.now"):
        monkeypatch.setattr(f"{module}.CAP", 20)
    await subscribe(database)
    await wait_to_be_sent(database, 30, due_for=timedelta(minutes=10))
    await wait_to_be_sent(database, 1, due_for=timedelta(hours=3))
    await quarantine(database, 30)
    async with console(database_url) as client:
        text = (await client.get("/console")).text
    assert "20+ deliveries are due and not sent, the oldest for 3 h." in text
    assert "20+ messages are in quarantine as unreadable" in text
    assert "20+ deliveries wait, 20+ of them due" in text
    exact = await overview.read(database)
    assert (exact.deliveries.due, exact.quarantine["unreadable"].messages) == (31, 30)


async def test_a_broker_that_does_not_answer_leaves_the_rest_known(
    database: asyncpg.Connection, database_url: str, amqp_url: str
) -> None:
    await quarantine(database, 1)
    async with console(database_url, amqp_url=NOWHERE) as client:
        text = (await client.get("/console")).text
        assert "How much waits in RabbitMQ is not known: RabbitMQ can't be reached" in text
        assert "1 message is in quarantine" in text
        assert "crossdock.store" not in text
        assert "hush" not in text
    async with console(database_url) as client:
        assert "RabbitMQ was not asked" in (await client.get("/console")).text


async def test_all_viewers_share_one_reading(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = 0
    read = overviews.Reader.stored

    async def counted(self: overviews.Reader) -> tuple[overview.Overview, overviews.Histories]:
        nonlocal readings
        readings += 1
        return await read(self)

    monkeypatch.setattr(overviews.Reader, "stored", counted)
    monkeypatch.setattr(overviews, "FRESH", 60.0)
    async with console(database_url) as client:
        answers = await asyncio.gather(*(client.get("/console") for _ in range(8)))
        assert {answer.status for answer in answers} == {200}
        assert readings == 1


@pytest.mark.parametrize(
    ("name", "types", "values"),
    [
        ("counts", "bigint, text[], integer, bigint, interval", "101, '{unreadable,failed}', 20, 101, '7 d'"),
        ("refused", "interval, bigint, bigint", "'2 min', 5, 101"),
        ("late", "bigint", "101"),
        ("history", "integer", "4"),
    ],
)
async def test_a_large_backlog_is_read_through_indexes_and_no_further_than_the_cap(
    database: asyncpg.Connection, name: str, types: str, values: str
) -> None:
    await subscribe(database)
    await wait_to_be_sent(database, 3000, due_for=timedelta(minutes=10))
    await wait_to_be_sent(database, 3000, due_for=-timedelta(minutes=10))
    await quarantine(database, 3000)
    await database.execute("UPDATE crossdock.quarantined SET replayed_at = now()")
    await quarantine(database, 300)
    await database.execute(
        "INSERT INTO crossdock.transfer_states SELECT n, 'rothys', n::text, NULL, NULL, NULL, 1, 0, 0, 0, 0, n % 2, 1, "
        "0, 'ordered', now() - interval '1 day', NULL, now(), CASE WHEN n % 10 = 0 "
        "THEN '{short}'::text[] ELSE '{}' END FROM generate_series(1, 3000) n"
    )
    await database.execute("UPDATE crossdock.outbox SET attempts = 1, created_at = now() - interval '1 h'")
    await database.execute("VACUUM (ANALYZE)")
    await database.execute(f"PREPARE asked ({types}) AS {query('overview', name)}")
    await database.execute("SET plan_cache_mode = force_generic_plan")
    plan = json.loads(await database.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE asked ({values})"))
    assert plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"] < 500
    for node in nodes(plan[0]["Plan"]):
        assert node["Actual Rows"] * node["Actual Loops"] <= 210, node
