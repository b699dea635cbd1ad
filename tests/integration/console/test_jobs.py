"""Actions on many deliveries: exactly what was shown, once, whatever happens to the process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
from prometheus_client import REGISTRY

from tests.support.console import Answer, Client, config, console
from tests.support.delivering import all_are, answering, worker
from tests.support.many import ended, event, finished, hidden, pending
from tests.support.pipeline import running, until
from tests.support.receiver import receiver, statuses, subscribe

RETRY, CANCEL = "/console/deliveries/retry", "/console/deliveries/cancel"
TYPE = "channelape.receipt_confirmation"
PLACE = "SELECT id FROM crossdock.finished WHERE type = $1 ORDER BY created_at, id OFFSET $2 LIMIT 1"


async def setting(
    pool: asyncpg.Pool, database: asyncpg.Connection, matching: int, others: int
) -> tuple[UUID, set[UUID]]:
    """Make failed deliveries of one type, and of another; return their subscription and those that match."""
    await event(pool)
    subscription = await subscribe(database, "http://127.0.0.1:9/x", subscriber="other", enabled=False)
    await database.execute("DELETE FROM crossdock.outbox")
    if others:
        await ended(database, subscription, others, type_="channelape.other")
    return subscription, await ended(database, subscription, matching, type_=TYPE)


def actions(outcome: str) -> float:
    """Return how often deliveries were sent again with this outcome, by the metric."""
    labels = {"action": "deliveries.retry", "outcome": outcome}
    return REGISTRY.get_sample_value("crossdock_console_actions_total", labels) or 0.0


async def ask(client: Client, **more: str) -> Answer:
    answer = await client.post(RETRY, {"all": "1", "status": "failed", "type": TYPE, **more})
    assert answer.status == 200, answer.text
    return answer


@asynccontextmanager
async def blocked(url: str, database: asyncpg.Connection, place: int) -> AsyncIterator[UUID]:
    """Keep the job from getting past a delivery in the middle, until this ends."""
    id_ = await database.fetchval(PLACE, TYPE, place)
    holder = await asyncpg.connect(url)
    try:
        transaction = holder.transaction()
        await transaction.start()
        await holder.fetch("SELECT id FROM crossdock.finished WHERE id = $1 FOR UPDATE", id_)
        yield id_
        await transaction.rollback()
    finally:
        await holder.close()


async def stuck(database: asyncpg.Connection) -> bool:
    """Return whether the job has done a part and waits for the row that is locked."""
    waiting = await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return bool(waiting and await database.fetchval("SELECT done > 0 FROM crossdock.jobs"))


async def test_exactly_what_was_counted_is_sent_again(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    subscription, matching = await setting(pool, database, 1_234, 3_766)
    counted = {outcome: actions(outcome) for outcome in ("started", "done")}
    async with console(database_url) as client:
        page = await ask(client)
        assert "Send 1,234 deliveries again?" in page.text
        fields = hidden(page.html)
        await ended(database, subscription, 50, type_=TYPE)  # they fail after the count
        wrong = await client.post(RETRY, [*fields, ("typed", "1233")])
        assert wrong.status == 400
        assert "Nothing was changed yet: 1233 is not 1234." in wrong.text
        assert 'name="typed"' in wrong.html
        assert await database.fetchval("SELECT count(*) FROM crossdock.jobs") == 0
        form = [*fields, ("typed", "1,234"), ("note", "the receiver is back")]
        first = await client.post(RETRY, form)
        assert (first.status, first.headers["Location"]) == (303, "/console/actions?done=job_started")
        assert (await client.post(RETRY, form)).status == 303  # pressed twice
        job = await finished(database)
        assert (job["outcome"], job["done"], job["failed"], job["total"]) == ("done", 1_234, 0, 1_234)
        assert await pending(database) == matching
        assert (await client.post(RETRY, form)).headers["Location"] == "/console/actions?done=job_started"
    assert {outcome: actions(outcome) - before for outcome, before in counted.items()} == {"started": 1, "done": 1}
    recorded = await database.fetch(
        "SELECT outcome, count, note FROM crossdock.operator_actions WHERE action = 'deliveries.retry' ORDER BY at"
    )
    assert [tuple(row) for row in recorded] == [("started", 1_234, "the receiver is back"), ("done", 1_234, None)]


async def test_a_process_that_dies_in_the_middle_is_succeeded_by_another(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    _, matching = await setting(pool, database, 1_000, 100)
    async with blocked(database_url, database, 700):
        async with console(database_url) as client:
            form = [*hidden((await ask(client)).html), ("typed", "1000")]
            assert (await client.post(RETRY, form)).status == 303
            await until(lambda: stuck(database), what="the middle of the job")
        part = await database.fetchval("SELECT done FROM crossdock.jobs")
        assert 0 < part < 1_000
        assert len(await pending(database)) == part
    async with console(database_url):
        job = await finished(database)
    assert (job["outcome"], job["done"]) == ("done", 1_000)
    assert await pending(database) == matching


async def test_a_job_carries_on_when_the_database_is_back(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    _, matching = await setting(pool, database, 600, 0)
    async with console(database_url) as client:
        async with blocked(database_url, database, 400):
            form = [*hidden((await ask(client)).html), ("typed", "600")]
            await client.post(RETRY, form)
            await until(lambda: stuck(database), what="the middle of the job")
            await database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE 'crossdock console%'"
            )
        job = await finished(database)
        assert (job["outcome"], job["done"]) == ("done", 600)
        assert client.app.problems() == []
    assert await pending(database) == matching


async def test_stop_is_taken_during_a_piece_and_ends_the_job(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await setting(pool, database, 1_000, 0)
    async with console(database_url) as client:
        async with blocked(database_url, database, 700):
            form = [*hidden((await ask(client)).html), ("typed", "1000")]
            await client.post(RETRY, form)
            await until(lambda: stuck(database), what="the middle of the job")
            page = await client.get("/console/actions")
            assert "of 1,000 done" in page.text
            id_ = await database.fetchval("SELECT id FROM crossdock.jobs")
            assert (await client.post(f"/console/jobs/{id_}/stop")).status == 303
            assert "Stopping." in (await client.get("/console/actions")).text
        job = await finished(database)
        assert (job["outcome"], job["done"]) == ("stopped", len(await pending(database)))
        assert job["done"] < 1_000
        answer = await client.post(f"/console/jobs/{id_}/stop")
        assert answer.headers["Location"] == "/console/actions?done=job_ended"
        assert (await client.post(f"/console/jobs/{UUID(int=1)}/stop")).status == 404


async def test_the_next_one_is_tried_first_and_the_rest_follows_only_if_it_arrived(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    subscription, _ = await setting(pool, database, 60, 0)
    await database.execute("UPDATE crossdock.subscribed SET enabled = true")
    async with console(database_url) as client:

        async def start() -> UUID:
            page = await ask(client, subscription=str(subscription))
            assert "to other at \u2068http://127.0.0.1:9/x\u2069" in page.text
            assert page.html.index("Try the next one first") < page.html.index("at once")
            await client.post(RETRY, [*hidden(page.html), ("how", "first")])
            await until(lambda: database.fetchval("SELECT true FROM crossdock.jobs WHERE tried_id IS NOT NULL"))
            (id_,) = await pending(database)
            return id_

        tried = await start()
        await database.execute("UPDATE crossdock.outbox SET attempts = attempts + 1")
        await database.execute(
            "INSERT INTO crossdock.attempts (delivery_id, at, attempt, status_code, duration_ms, outcome, response) "
            "VALUES ($1, now(), 4, 503, 1, 'refused', '')",
            tried,
        )
        job = await finished(database)
        assert (job["outcome"], job["done"]) == ("failed", 1)
        assert "its answer was 503" in job["problem"]
        assert await pending(database) == {tried}

        await database.execute("DELETE FROM crossdock.jobs")
        await database.execute("DELETE FROM crossdock.outbox")
        tried = await start()
        await database.execute(
            "WITH gone AS (DELETE FROM crossdock.outbox RETURNING *) INSERT INTO crossdock.finished (id, "
            "subscription_id, created_at, received_at, event_id, message_id, document_id, version, attempts, type, "
            "key, status) SELECT id, subscription_id, created_at, received_at, event_id, message_id, document_id, "
            "version, attempts, type, key, 'delivered' FROM gone"
        )
        job = await finished(database)
        assert (job["outcome"], job["done"]) == ("done", 59)
        assert len(await pending(database)) == 58


async def test_all_arrive_once_the_subscriber_answers_again(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    """Nothing of the deliver worker is imitated here: the first delivery is refused, and later all arrive."""
    await event(pool)
    async with receiver() as target:
        subscription = await subscribe(database, target.url, subscriber="other", schedule=[0.0])
        await database.execute("DELETE FROM crossdock.outbox")
        await ended(database, subscription, 5, type_=TYPE)
        target.answer = answering(503)
        async with console(database_url) as client, running(worker(database_url, config())):

            async def start() -> asyncpg.Record:
                page = await ask(client, subscription=str(subscription))
                await client.post(RETRY, [*hidden(page.html), ("how", "first")])
                return await finished(database)

            job = await start()
            assert (job["outcome"], job["done"]) == ("failed", 1)
            assert "its answer was 503" in job["problem"]
            assert await statuses(database) == {"failed": 5}
            await database.execute("DELETE FROM crossdock.jobs")
            target.answer = answering(200)
            assert (await start())["done"] == 5
            await until(lambda: all_are(pool, "delivered"), what="all deliveries")
            assert len(target.got) == 6


async def test_ticked_ones_are_cancelled_and_one_is_acted_on_at_once(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    _, matching = await setting(pool, database, 3, 1)
    first, *others = sorted(matching)
    async with console(database_url) as client:
        answer = await client.post(RETRY, {"id": str(first), "back": "//evil.example"})
        assert answer.headers["Location"] == f"/console/deliveries/{first}?done=retried"
        assert await pending(database) == {first}
        page = await client.post(RETRY, [("id", str(id_)) for id_ in others])
        assert "Send 2 deliveries again?" in page.text
        await client.post(RETRY, hidden(page.html))
        await finished(database)
        assert await pending(database) == matching
        await database.execute("DELETE FROM crossdock.jobs")
        page = await client.post(
            CANCEL, {"all": "1", "status": "pending", "back": "/console/deliveries?status=pending"}
        )
        assert "Cancel 3 deliveries?" in page.text
        assert ("back", "/console/deliveries?status=pending") in hidden(page.html)
        await client.post(CANCEL, hidden(page.html))
        await finished(database)
        assert await pending(database) == set()
        assert (await client.post(CANCEL, {"id": str(first)})).headers["Location"].endswith("done=ended_before")
        assert (await client.post(RETRY, {"id": str(UUID(int=1))})).status == 404
        assert (await client.post(RETRY, {"all": "1"})).status == 400
        assert (await client.post(RETRY, {})).headers["Location"] == "/console/deliveries?done=nothing_ticked"


async def test_what_may_not_be_sent_any_more_is_left_alone_and_recorded(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    _, matching = await setting(pool, database, 3, 0)
    await database.execute("UPDATE crossdock.subscribed SET subscriber = 'gone'")
    async with console(database_url) as client:
        answer = await client.post(RETRY, {"id": str(min(matching))})
        assert answer.status == 409
        assert "is not configured any more" in answer.text
        await client.post(RETRY, hidden((await ask(client)).html))
        job = await finished(database)
        assert (job["done"], job["failed"]) == (0, 3)
        assert "is not configured any more" in job["problem"]
        assert "3 could not be done" in (await client.get("/console/actions")).text
    assert await pending(database) == set()
    outcomes = await database.fetch("SELECT outcome FROM crossdock.actions WHERE action = 'deliveries.retry'")
    assert [row["outcome"] for row in outcomes] == ["failed", "started", "done"]
