"""Set up, send and trace, as a person does it."""

from pathlib import Path

import asyncpg

from schemas import registry
from tests.support import pipeline
from tests.support.shell import CommandResult, Shell


async def test_commands_set_up_empty_servers(tmp_path: Path, empty_amqp_url: str, empty_database_url: str) -> None:
    shell = Shell(tmp_path, AMQP_URL=empty_amqp_url, DATABASE_URL=empty_database_url)
    missing = await shell("topology", "check")
    assert missing.code == 1
    assert "crossdock.store is missing: run `crossdock topology apply`" in missing.err
    assert (
        await shell("trace", "1")
    ).err == "crossdock: the database's schema is missing or old: run `crossdock migrate`\n"
    checked = await shell("check", "--json")
    assert checked.code == 1
    assert {entry["what"] for entry in checked.json if not entry["ok"]} == {"rabbitmq", "postgresql"}
    assert "run `crossdock migrate`" in checked.out
    assert (await shell("topology", "apply")).code == 0
    applied = await shell("migrate", "--json")
    assert applied.json["applied"][0] == "0001_tables"
    assert (await shell("migrate")).out == "nothing to apply: the schema is up to date\n"
    assert await shell("topology", "check") == (0, "exchanges and queues are as declared\n", "")
    checked = await shell("check")
    assert checked.code == 0, checked.out
    assert checked.out.count(" ok") == 6


async def test_a_document_that_is_sent_can_be_traced(shell: Shell, url: str) -> None:
    result = await shell("send", "ustore", "manufacturer_allocation", "--url", url)
    assert result.code == 0, result.err
    assert result.out.startswith("200 in ")
    assert result.out.endswith('{"3087":"2","3088":"1"}\n')

    async def traced() -> CommandResult | None:
        result = await shell("trace", "5295")
        return result if "queued" in result.out and "manufacturer_order" in result.out else None

    history = (await pipeline.until(traced, what="the order's life")).out
    assert history.splitlines()[0].split() == ["ustore.manufacturer_allocation", "5295", "(ustore/printshop)"]
    for line in (
        "item 3087 to manufacturer 2 by fallback: product",
        "item 3088 to manufacturer 1 by static1 to the annex",
        "ustore.manufacturer_order.printshop.2 on crossdock.events",
    ):
        assert line in history
    as_json = (await shell("trace", "5295", "--json")).json
    (document,) = as_json["documents"]
    message = document["receipts"][0]["message_id"]
    assert {entry["routing_key"] for entry in document["messages"]} >= {"ustore.manufacturer_allocation.printshop"}
    for name in (message, document["versions"][0]["id"]):
        assert (await shell("trace", name)).out == history


async def test_trace_of_an_unknown_document_finds_nothing(shell: Shell) -> None:
    result = await shell("trace", "nothing")
    assert result.code == 1
    assert result.err.startswith("crossdock: nothing is known of 'nothing'")


async def test_sending_many_documents_loses_none(shell: Shell, url: str, database: asyncpg.Connection) -> None:
    result = await shell("send", "channelape", "receipt_confirmation", "--count", "500", "--url", url, "--json")
    assert result.code == 0, result.err
    assert result.json["statuses"] == {"200": 500}
    assert 0 < result.json["latency_ms"]["p50"] <= result.json["latency_ms"]["max"]

    async def stored() -> bool:
        return bool(await database.fetchval("SELECT count(DISTINCT key) FROM crossdock.events") == 500)

    await pipeline.until(stored, what="500 rows")


async def test_sending_the_same_document_repeatedly_stores_it_once(
    shell: Shell, url: str, database: asyncpg.Connection
) -> None:
    result = await shell("send", "ecomnow", "order_cancellation", "--same", "--count", "30", "--url", url)
    assert result.code == 0, result.err
    assert result.out.splitlines()[1].split() == ["200", "30"]

    async def times() -> bool:
        rows = await database.fetch("SELECT type, key, times_received FROM crossdock.events")
        return [tuple(row) for row in rows] == [("ecomnow.order_cancellation", "1000-4612", 30)]

    await pipeline.until(times, what="one row, received 30 times")


async def test_send_respects_the_rate(shell: Shell, url: str) -> None:
    result = await shell("send", "apicbase", "purchase_order", "--count", "20", "--rate", "40", "--url", url, "--json")
    assert result.json["seconds"] >= 19 / 40
    assert result.json["statuses"] == {"200": 20}


async def test_send_reports_refused_posts(shell: Shell, url: str) -> None:
    (shell.folder / "crossdock.toml").write_text(
        '[accounts.channelape.rothys]\nkeys = [{name = "token", secret = "stale"}]\n'
    )
    result = await shell("send", "channelape", "ship_confirmation", "--count", "3", "--url", url)
    assert result.code == 1
    assert result.out.splitlines()[1].split() == ["401", "3"]
    assert "first that was not accepted: 401 {" in result.out
    assert "stale" not in result.out + result.err


async def test_a_file_can_be_sent(shell: Shell, url: str, database: asyncpg.Connection) -> None:
    body = registry.example("apicbase", "purchase_order").replace(b"PO", b"PX")
    (shell.folder / "order.json").write_bytes(body)
    assert (await shell("send", "apicbase", "purchase_order", "--file", "order.json", "--url", url + "/")).code == 0

    async def raw() -> bool:
        return bool(await database.fetchval("SELECT raw FROM crossdock.events") == body)

    await pipeline.until(raw, what="the file's bytes")
