"""Deliveries that a filter selects, and what operators did, on the command line."""

import asyncpg
import pytest

from deploy.cli import recording
from storage import actions, jobs
from storage.actions import Actor
from tests.support.many import ended, event, pending
from tests.support.receiver import subscribe
from tests.support.shell import Shell

TYPE = "channelape.receipt_confirmation"
ANNA = Actor("anna", "act", "10.0.0.1")


async def test_all_that_match_are_sent_again_or_cancelled(
    shell: Shell, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await event(pool)
    subscription = await subscribe(database, "http://127.0.0.1:9/x", enabled=False)
    matching = await ended(database, subscription, 300, type_=TYPE)
    await ended(database, subscription, 20, type_="channelape.other")
    chosen = ("deliveries", "retry", "--all", "--status", "failed", "--type", TYPE)
    unanswered = await shell(*chosen)
    assert unanswered.code == 1
    assert "300 deliveries would be sent again" in unanswered.err
    assert await pending(database) == set()
    assert (await shell(*chosen, "--yes")).out == "300 sent again\n"
    assert await pending(database) == matching
    of_account = ("--account", "channelape/rothys", "--subscription", str(subscription))
    cancelled = await shell("deliveries", "cancel", "--all", *of_account, "--yes", "--json")
    assert cancelled.json == {"cancelled": 300}
    for wrong in (("retry",), ("retry", "--all"), ("cancel", "--type", TYPE), ("retry", str(subscription), "--all")):
        assert (await shell("deliveries", *wrong)).code == 2
    recorded = [(row.operator, row.action, row.count, row.outcome) for row in await actions.listing(database)]
    assert recorded == [
        ("command line", f"deliveries.{action}", 300, outcome)
        for action in ("cancel", "retry")
        for outcome in ("done", "started")
    ]
    assert f"of type {TYPE}" in (await actions.listing(database, action="deliveries.retry"))[0].subject


async def test_a_command_that_fails_in_the_middle_is_recorded(database: asyncpg.Connection) -> None:
    async def act() -> None:
        async with recording.recorded(database, "quarantine.replay", subject="all", count=9) as tally:
            tally.done = 4
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await act()
    rows = [(row.count, row.outcome, row.note) for row in await actions.listing(database)]
    assert rows == [(4, "failed", "ended early: ValueError"), (9, "started", None)]


async def test_jobs_and_actions_are_listed_and_a_job_is_stopped(shell: Shell, database: asyncpg.Connection) -> None:
    id_ = await database.fetchval("SELECT gen_random_uuid()")
    await jobs.create(
        database, ANNA, "deliveries.cancel", id_=id_, filter_=jobs.Filter(ids=[]), subject="all", total=7, is_exact=True
    )
    assert "0 of 7" in (await shell("jobs", "list")).out
    assert (await shell("jobs", "stop", str(id_))).out == f"{id_} stops before its next piece\n"
    (job,) = (await shell("jobs", "list", "--json")).json
    assert (job["stop_asked"], job["operator"]) == (True, "anna")
    listed = (await shell("actions", "--operator", "anna", "--json")).json
    assert [(row["action"], row["outcome"]) for row in listed] == [("deliveries.cancel", "started")]
    assert "jobs.stop" in (await shell("actions")).out
    async with database.transaction():
        taken = await jobs.take(database, id_)
        assert taken is not None
        await jobs.finish(database, taken, "stopped")
    gone = await shell("jobs", "stop", str(id_))
    assert (gone.code, "has ended already" in gone.err) == (1, True)
    assert [action.outcome for action in await actions.listing(database, action="deliveries.cancel")] == [
        "stopped",
        "started",
    ]
