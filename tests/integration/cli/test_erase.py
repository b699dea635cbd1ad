"""`crossdock erase`, as a person types it."""

import asyncpg
import pytest

from broker import consumers as queues
from deploy.cli.main import main
from schemas.consumers import Consumer
from storage import actions, consumers
from tests.support.erasing import NAME, traces, transfer
from tests.support.shell import Shell
from workers.store import isolate


async def test_erase_shows_the_counts_then_erases_and_lists_the_queues(
    shell: Shell, pool: asyncpg.Pool, database: asyncpg.Connection, amqp_url: str
) -> None:
    await isolate.write_isolating(pool, [transfer("STO1", seconds=0, number=1), transfer("STO2", seconds=1, number=2)])
    consumer = Consumer(name="boards", types=["*"], accounts=["*"])
    await queues.add(amqp_url, consumer)
    await consumers.add(database, consumer, None)
    select = ("erase", "--platform", "channelape", "--account", "acme", "--key", "STO1")

    dry = await shell(*select, "--dry-run", "--json")
    assert dry.code == 0, dry.err
    assert dry.json["would_erase"] == {
        "documents": 1, "receipts": 1, "versions": 1, "allocation_records": 0, "outbox": 0, "finished": 0,
        "attempts": 0, "quarantined": 0,
    }  # fmt: skip
    assert dry.json["queues"] == {"crossdock.consumer.boards": 0, "crossdock.consumer.boards.dead": 0}

    prompt = await shell(*select)
    assert (prompt.code, "nothing was erased" in prompt.err) == (1, True)
    assert "receipts" in prompt.out
    assert await database.fetchval("SELECT count(*) FROM crossdock.erasures") == 0

    without_broker = Shell(shell.folder, DATABASE_URL=shell.env["DATABASE_URL"], AMQP_URL="amqp://127.0.0.1:1/")
    unlisted = await without_broker(*select, "--dry-run")
    assert (unlisted.code, "queues could not be listed" in unlisted.out) == (0, True)

    done = await shell(*select, "--yes")
    assert done.code == 0, done.err
    assert "erased: 1 documents, 3 rows in all" in done.out
    assert "crossdock.consumer.boards" in done.out
    assert "log_max_age" in done.out
    keys = await database.fetch("SELECT key, 'erased' = ANY (flags) AS is_erased FROM crossdock.events ORDER BY key")
    assert [tuple(row) for row in keys] == [("STO1", True), ("STO2", False)]
    assert await traces(database, [NAME])
    recorded = [(row.action, row.subject, row.count, row.outcome) for row in await actions.listing(database)]
    assert recorded == [
        ("documents.erase", "key STO1 (channelape/acme)", 1, outcome) for outcome in ("done", "started")
    ]

    wrong = await shell("erase", "--platform", "channelape", "--account", "acme", "--key", "STO", "--yes")
    assert (wrong.code, "no document of channelape/acme has 'STO' as its business key" in wrong.err) == (1, True)


def test_an_erasure_that_can_select_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("erase", "--platform", "channelape", "--account", "acme")
    for arguments, text in (
        (base, "exactly one of"),
        ((*base, "--key", "1", "--order-number", "2"), "exactly one of"),
        ((*base, "--key", "  "), "must not be empty"),
        ((*base, "--before", "2999-01-01"), "is in the future"),
        (("erase", "--platform", "shopify", "--account", "a", "--key", "1"), "is not one of apicbase"),
    ):
        assert main(arguments) == 2
        assert text in capsys.readouterr().err
