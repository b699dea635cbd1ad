"""Consumers that come and go: a queue each, bound to what it asked for, bounded, and readable by its user alone."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import aiohttp
import aiormq
import asyncpg
import pytest
import pytest_asyncio
from aiormq.exceptions import AMQPError
from pamqp.commands import Basic
from pamqp.common import FieldTable
from prometheus_client import REGISTRY
from yarl import URL

from broker import depths, requeue
from deploy.local.rabbitmq import RabbitMQ
from schemas.consumers import Consumer, bindings, queues
from tests.support.announcing import announce_all
from tests.support.pipeline import until
from tests.support.shell import Shell
from workers.store import jobs


@pytest_asyncio.fixture
async def erp(shell: Shell) -> str:
    """The queue of a consumer of ChannelApe's events."""
    code, out, err = await shell("consumers", "add", "erp", "--types", "channelape.*", "--json")
    assert code == 0, err
    return str(json.loads(out)["queue"])


def keys(types: list[str], accounts: list[str]) -> list[str]:
    return [binding.routing_key for binding in bindings(Consumer(name="x", types=types, accounts=accounts))]


@pytest.mark.parametrize(
    ("types", "accounts", "expected"),
    [
        (["*"], ["*"], ["#"]),
        (["channelape.*"], ["*"], ["channelape.*.#"]),
        (["channelape.receipt_confirmation"], ["rothys"], ["channelape.receipt_confirmation.rothys.#"]),
        (["*"], ["channelape/rothys"], ["channelape.*.rothys.#"]),
        (["*"], ["ecomnow/*", "rothys"], ["*.*.rothys.#", "ecomnow.*.#"]),
        (["channelape.*", "ecomnow.new_order"], ["ecomnow/shop"], ["ecomnow.new_order.shop.#"]),
        (["ustore.manufacturer_order"], ["printshop"], ["ustore.manufacturer_order.printshop.#"]),
    ],
)
def test_types_and_accounts_become_routing_keys(types: list[str], accounts: list[str], expected: list[str]) -> None:
    assert keys(types, accounts) == expected


@pytest.mark.parametrize(
    ("types", "accounts", "text"),
    [
        (["chanelape.*"], ["*"], "is not an event type: write one of apicbase.purchase_order"),
        (["channelape.rec*"], ["*"], "is not an event type"),
        (["*"], ["a.b"], "is not an account"),
        (["*"], ["ro*"], "is not an account"),
        (["*"], ["channelape/"], "is not an account"),
        (["channelape.*"], ["ecomnow/shop"], "no event has any of these types and any of these accounts"),
    ],
)
def test_patterns_that_match_nothing_are_refused(types: list[str], accounts: list[str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        keys(types, accounts)


async def test_a_consumer_gets_events_of_its_types_from_its_creation_on(
    shell: Shell, erp: str, amqp_url: str, pool: asyncpg.Pool
) -> None:
    await announce_all(amqp_url, ["a", "b"])
    await announce_all(amqp_url, ["c"], platform="ecomnow", account="shop")
    code, out, _ = await shell("consumers", "list", "--json")
    (row,) = json.loads(out)
    assert (code, row["name"], row["messages"], row["dead"], row["consumers"]) == (0, "erp", 2, 0, 0)
    assert "erp" in (await shell("consumers", "list"))[1]
    queued = {queue["name"]: queue["messages"] for queue in json.loads((await shell("status", "--json"))[1])["queues"]}
    assert queued[erp] == 2

    async def database() -> asyncpg.Pool:
        return pool

    watching = asyncio.create_task(depths.watch(amqp_url, partial(jobs.consumer_queues, database)))
    await until(lambda: REGISTRY.get_sample_value("crossdock_queue_messages", {"queue": erp}) == 2.0)
    watching.cancel()


async def test_adding_again_changes_nothing_and_other_settings_are_refused(shell: Shell, erp: str) -> None:
    assert (await shell("consumers", "add", "erp", "--types", "channelape.*"))[0] == 0
    code, _, err = await shell("consumers", "add", "erp", "--types", "ecomnow.*")
    assert (code, "exists with other types, accounts or limits: run `crossdock consumers remove erp`" in err) == (
        1,
        True,
    )
    code, _, err = await shell("consumers", "add", "x", "--types", "nothing.*")
    assert (code, "is not an event type" in err) == (1, True)
    assert (await shell("consumers", "add", "a.b"))[0] == 2
    assert (await shell("consumers", "add", "x", "--max-size", "much"))[0] == 2


async def test_waiting_messages_are_deleted_only_with_force(shell: Shell, erp: str, amqp_url: str) -> None:
    await announce_all(amqp_url, ["a"])
    code, _, err = await shell("consumers", "remove", "erp")
    assert (code, err) == (1, "crossdock: 1 messages wait for erp: let it take them, or give --force\n")
    assert (await shell("consumers", "remove", "erp", "--force"))[0] == 0
    code, _, err = await shell("consumers", "remove", "erp")
    assert (code, "there is no consumer erp" in err) == (1, True)
    assert json.loads((await shell("consumers", "list", "--json"))[1]) == []


async def test_the_queue_of_an_absent_consumer_keeps_at_most_its_limit(shell: Shell, amqp_url: str) -> None:
    assert (await shell("consumers", "add", "slow", "--max-messages", "5"))[0] == 0
    await announce_all(amqp_url, [f"n{n}" for n in range(20)])

    async def rows() -> Any:
        (row,) = json.loads((await shell("consumers", "list", "--json"))[1])
        return row["messages"] == 5 and row["dead"] == 15

    await until(rows)


async def test_the_user_of_a_consumer_reads_only_its_queue(shell: Shell, amqp_url: str, rabbitmq: RabbitMQ) -> None:
    management = rabbitmq.management_url
    code, out, err = await shell("consumers", "add", "erp", "--user", "erp", "--management", management, "--json")
    assert code == 0, err
    added = json.loads(out)
    await announce_all(amqp_url, ["a"])
    scheme, _, rest = amqp_url.partition("://")
    connection = await aiormq.connect(f"{scheme}://erp:{added['password']}@{rest.rpartition('@')[2]}")
    try:
        channel = await connection.channel()
        assert json.loads((await channel.basic_get(added["queue"])).body)["id"] == "a"
        for queue in ("crossdock.store", "crossdock.events.log"):
            with pytest.raises(AMQPError, match=r"ACCESS_REFUSED|access to"):
                await (await connection.channel()).basic_get(queue)
        channel = await connection.channel()
        with pytest.raises(AMQPError, match=r"ACCESS_REFUSED|access to"):
            await channel.basic_publish(b"x", exchange="crossdock.events", routing_key="a.b.c")
    finally:
        await connection.close()
    _, _, err = await shell("consumers", "remove", "erp", "--force")
    assert "give --management" in err
    assert (await shell("consumers", "remove", "erp", "--force", "--management", management))[0] == 0
    with pytest.raises(AMQPError):
        await aiormq.connect(f"{scheme}://erp:{added['password']}@{rest.rpartition('@')[2]}")


async def test_an_unavailable_management_api_is_reported_in_one_line(shell: Shell) -> None:
    for url, text in (("http://guest:s3cret@127.0.0.1:1", "can't be reached"), ("nonsense", "can't be read")):
        code, _, err = await shell("consumers", "add", "erp", "--user", "erp", "--management", url)
        assert (code, text in err, "s3cret" in err) == (1, True, False)
    assert "give --management" in (await shell("consumers", "add", "erp", "--user", "erp"))[2]


def test_limits_are_arguments_of_the_queue() -> None:
    queue, dead = queues(Consumer(name="x", types=["*"], accounts=["*"], max_messages=5, max_bytes=6))
    assert (queue.arguments["x-max-length"], queue.arguments["x-max-length-bytes"]) == (5, 6)
    assert (queue.arguments["x-dead-letter-routing-key"], dead.name) == (dead.name, "crossdock.consumer.x.dead")


async def test_a_user_that_does_not_belong_to_the_consumer_is_never_changed(
    shell: Shell, amqp_url: str, rabbitmq: RabbitMQ
) -> None:
    """Making a user gives it a new password and takes its rights away."""
    url = ("--management", rabbitmq.management_url)
    assert (await shell("consumers", "add", "first", "--user", "first", *url)).code == 0
    async with (
        aiohttp.ClientSession(rabbitmq.management_url) as session,
        session.put("/api/users/somebody", json={"password": "theirs", "tags": "administrator"}) as answer,
    ):
        assert answer.status in (201, 204)
    for user, why in (
        (rabbitmq.username, "is the user that Crossdock itself logs in with"),
        ("somebody", "RabbitMQ has a user somebody already"),
        ("first", "is the user of consumer first"),
    ):
        result = await shell("consumers", "add", "second", "--user", user, *url)
        assert (result.code, why in result.err, result.out) == (1, True, ""), result
    result = await shell("consumers", "add", "first", "--user", "other", *url)
    assert (result.code, "has the user first" in result.err) == (1, True)
    assert (await shell("consumers", "add", "first", "--user", "first", *url)).code == 0  # a new password, of its own
    theirs = URL(rabbitmq.management_url).with_user("somebody").with_password("theirs")
    async with aiohttp.ClientSession(theirs) as session:
        async with session.get("/api/whoami") as answer:
            assert (answer.status, "administrator" in (await answer.json())["tags"]) == (200, True)
        async with session.delete("/api/users/somebody") as answer:
            assert answer.status == 204
    assert [row["name"] for row in (await shell("consumers", "list", "--json")).json] == ["first"]
    assert (await shell("consumers", "remove", "first", *url)).code == 0


async def test_messages_that_a_consumer_failed_on_return_to_its_queue(
    shell: Shell, erp: str, amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requeue, "PIECE", 3)
    await announce_all(amqp_url, [f"n{n}" for n in range(8)])
    connection = await aiormq.connect(amqp_url)
    try:
        channel = await connection.channel()

        async def rejected() -> bool:
            message = await channel.basic_get(erp)
            if message.delivery_tag:
                await channel.basic_reject(message.delivery_tag, requeue=False)
            return (await channel.queue_declare(f"{erp}.dead", passive=True)).message_count == 8

        await until(rejected)
        assert await requeue.move(amqp_url, f"{erp}.dead", erp) == 8
        assert (await channel.queue_declare(f"{erp}.dead", passive=True)).message_count == 0
        messages = []
        while (message := await channel.basic_get(erp, no_ack=True)).delivery_tag:
            headers = message.header.properties.headers or {}
            assert "x-death" not in headers
            assert str(headers["x-routing-key"]).startswith("channelape.")
            messages.append(json.loads(message.body)["id"])
        assert sorted(messages) == [f"n{n}" for n in range(8)]
    finally:
        await connection.close()
    assert (await shell("consumers", "retry", "erp", "--json")).json == {"name": "erp", "retried": 0}
    result = await shell("consumers", "retry", "nobody")
    assert (result.code, "there is no consumer nobody" in result.err) == (1, True)


async def test_a_moved_message_keeps_its_properties(erp: str, amqp_url: str) -> None:
    """Its priority, which may be absent, and every millisecond of its expiration; only deaths are forgotten."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    headers: FieldTable = {"x-kept": ["text", {"deep": 1, "exact": Decimal("1.5")}], "x-delivery-count": 7}
    sent = [
        Basic.Properties(message_id="none", delivery_mode=1),
        Basic.Properties(
            content_type="text/x",
            content_encoding="identity",
            headers=headers,
            priority=7,
            correlation_id="c",
            reply_to="r",
            expiration="4001001",
            message_id="all",
            timestamp=moment,
            message_type="t",
            app_id="a",
        ),
    ]
    connection = await aiormq.connect(amqp_url)
    try:
        channel = await connection.channel()
        for properties in sent:
            await channel.basic_publish(b"body", routing_key=f"{erp}.dead", properties=properties)
        assert await requeue.move(amqp_url, f"{erp}.dead", erp) == 2
        for properties in sent:
            message = await channel.basic_get(erp, no_ack=True)
            kept = {name: value for name, value in (properties.headers or {}).items() if name != "x-delivery-count"}
            properties.headers, properties.delivery_mode = kept, 2
            received = message.header.properties
            received.headers = {k: v for k, v in (received.headers or {}).items() if k != "x-delivery-count"}
            assert (message.body, dict(received)) == (b"body", dict(properties))
    finally:
        await connection.close()
