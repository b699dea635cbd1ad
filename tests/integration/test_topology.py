"""Exchanges and queues on a broker that is starting, or that holds what an earlier release declared."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity

from broker import commands, definitions, depths, management, renew, retention, topology
from broker.declare import TopologyError, declare, is_missing, lacks_streams, major_version
from deploy.local.rabbitmq import RabbitMQ
from schemas import topology as names
from schemas.config import Events
from schemas.consumers import Consumer, queues
from tests.support import pipeline
from tests.support.shell import Shell

DOWN = (
    "NOT_FOUND - home node 'crossdock-1@localhost' of durable queue 'crossdock.events.log' in vhost '/' is down or "
    "inaccessible"
)


@pytest_asyncio.fixture
async def connection(empty_amqp_url: str) -> AsyncIterator[AbstractConnection]:
    opened = await aio_pika.connect(empty_amqp_url)
    yield opened
    await opened.close()


async def declare_as_before(connection: AbstractConnection, *without: str) -> None:
    """Declare our queues with the delivery limit of an earlier release."""
    channel = await connection.channel()
    for queue in names.topology().queues:
        arguments: dict[str, Any] = dict(queue.arguments)
        if "x-dead-letter-exchange" in arguments:
            arguments["x-delivery-limit"] = 20
        await channel.declare_queue(queue.name, durable=True, arguments=arguments)


async def publish(connection: AbstractConnection, queue: str, body: bytes = b"{}") -> None:
    channel = await connection.channel(publisher_confirms=True)
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, routing_key=queue)
    await channel.close()


async def limits(connection: AbstractConnection, expected: names.Topology) -> set[str]:
    """Queues whose delivery limit is not ours."""
    limited = set()
    for queue in expected.queues:
        limited |= {entry.queue for entry in await declare(connection, queue)}
    return limited


@pytest.mark.parametrize("alone", [True, False])
async def test_the_limits_of_an_earlier_release_go_where_that_loses_nothing(
    empty_amqp_url: str, connection: AbstractConnection, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renew, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(renew, "UNBIND_PAUSE", 0.1)
    expected = names.topology()
    await declare_as_before(connection)
    await publish(connection, names.STORE, b"kept")
    applied = await topology.apply(empty_amqp_url, expected, alone=alone)
    assert {difference.argument for difference in applied.differences} == {"x-delivery-limit"}
    assert names.STORE in {difference.queue for difference in applied.differences}
    assert all("let our queues run empty" in note for note in applied.notes)
    report = await topology.inspect(empty_amqp_url, expected)
    assert (report.problems, bool(report.notes)) == ([], True)

    channel = await connection.channel()
    assert (await (await channel.get_queue(names.STORE)).get(no_ack=True)).body == b"kept"
    applied = await topology.apply(empty_amqp_url, expected, alone=alone)
    assert (applied.differences, await limits(connection, expected)) == ([], set())
    async with pipeline.door(empty_amqp_url) as door:  # everything is bound again
        await door.post("ustore", "manufacturer_allocation")
    assert (await topology.depths(empty_amqp_url))[names.STORE][0] == 1
    assert (await topology.depths(empty_amqp_url))["crossdock.route.ustore"][0] == 1


async def test_a_queue_that_is_consumed_stays(empty_amqp_url: str, connection: AbstractConnection) -> None:
    await declare_as_before(connection)
    channel = await connection.channel()

    async def hold(message: AbstractIncomingMessage) -> None:
        pass

    await (await channel.get_queue(names.STORE)).consume(hold)
    applied = await topology.apply(empty_amqp_url)
    assert names.STORE in {difference.queue for difference in applied.differences}


async def test_a_message_requeued_many_times_stays_in_the_queue(amqp_url: str) -> None:
    """RabbitMQ 4 has a delivery limit of 20 where none is declared, and deletes what exceeds it here."""
    connection = await aio_pika.connect(amqp_url)
    dead = queues(Consumer(name="x", types=["*"], accounts=["*"]))[1]
    await declare(connection, dead)
    try:
        for queue in (names.DEAD, names.UNROUTED, dead.name, names.STORE):
            await publish(connection, queue)
            source = await (await connection.channel()).get_queue(queue)
            for _ in range(26):

                async def got(source: AbstractQueue = source) -> AbstractIncomingMessage | None:
                    return await source.get(fail=False)

                await (await pipeline.until(got, what=f"it is in {queue}")).reject(requeue=True)
    finally:
        await connection.close()


def test_no_limit_is_declared_as_the_version_wants_it() -> None:
    store = next(queue for queue in names.topology().queues if queue.name == names.STORE)
    assert "x-delivery-limit" not in store.declared(3)
    assert store.declared(4)["x-delivery-limit"] == -1
    queue, dead = queues(Consumer(name="x", types=["*"], accounts=["*"]))
    assert queue.declared(4)["x-delivery-limit"] == queue.declared(3)["x-delivery-limit"] == names.DELIVERY_LIMIT
    assert dead.declared(4)["x-delivery-limit"] == -1
    log = next(queue for queue in names.topology().queues if queue.name == names.EVENTS_LOG)
    assert "x-delivery-limit" not in log.declared(4)
    for major, limit in ((3, {}), (4, {"x-delivery-limit": names.UNLIMITED})):
        exported = {queue["name"]: queue["arguments"] for queue in definitions.export(major=major)["queues"]}
        assert exported[names.DEAD] == {"x-queue-type": "quorum", **limit}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (DOWN, False),
        ("NOT_FOUND - queue 'crossdock.store' in vhost '/' process is stopped by supervisor", False),
        ("NOT_FOUND - failed to perform operation on queue 'crossdock.store' in vhost '/' due to timeout", False),
        ("NOT_FOUND - no queue 'crossdock.store' in vhost '/'", True),
        ("NOT_FOUND - no exchange 'crossdock.inbound' in vhost '/'", True),
    ],
)
def test_a_queue_without_a_leader_is_not_missing(text: str, missing: bool) -> None:
    assert is_missing(ChannelNotFoundEntity(text)) is missing


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        (
            "INTERNAL_ERROR - Cannot declare a queue 'queue 'crossdock.events.log' in vhost '/'' of type "
            "'rabbit_stream_queue' on node 'rabbit@a': the corresponding feature flag is disabled",
            True,
        ),
        (
            "PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'crossdock.events.log' in vhost '/': "
            '{unsupported_queue_type,<<"stream">>}',
            True,
        ),
        ("NOT_FOUND - home node 'rabbit@a' of durable queue 'crossdock.events.log' is down or inaccessible", False),
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'crossdock.events.log' in vhost '/': "
            "received the value 'stream' of type 'longstr' but current is 'classic'",
            False,
        ),
        ("PRECONDITION_FAILED - inequivalent arg 'x-max-age' for queue 'crossdock.events.log' in vhost '/'", False),
    ],
)
def test_a_broker_without_streams_is_recognised(text: str, lacks: bool) -> None:
    assert lacks_streams(text) is lacks


async def test_queues_without_a_leader_are_waited_for(amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "PAUSE", 0.01)
    tries = 0

    async def work(connection: AbstractConnection) -> int:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise ChannelNotFoundEntity(DOWN) if tries < 3 else TimeoutError
        return major_version(connection)

    assert await commands.patiently(amqp_url, work) in (3, 4)

    async def down(connection: AbstractConnection) -> None:
        raise ChannelNotFoundEntity(DOWN)

    with pytest.raises(TopologyError, match=r"not ready within 0 seconds \(NOT_FOUND - home node"):
        await commands.patiently(amqp_url, down, patience=0.05)

    async def missing(connection: AbstractConnection) -> None:
        raise ChannelNotFoundEntity("NOT_FOUND - no queue 'x' in vhost '/'")

    with pytest.raises(TopologyError, match="run `crossdock topology apply`"):
        await commands.patiently(amqp_url, missing)


async def policies(rabbitmq: RabbitMQ, amqp_url: str) -> dict[str, Any]:
    vhost = management.vhost_of(amqp_url)
    async with (
        aiohttp.ClientSession(rabbitmq.management_url) as session,
        session.get(f"/api/policies/{vhost}") as answer,
    ):
        return {entry["name"]: entry["definition"] for entry in await answer.json()}


async def test_another_retention_is_applied_and_nothing_is_deleted(
    shell: Shell, amqp_url: str, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    connection = await aio_pika.connect(amqp_url)
    await publish(connection, names.EVENTS_LOG)
    await connection.close()
    config = tmp_path / "crossdock.toml"
    config.write_text('[events]\nlog_max_age = "14D"\nlog_max_bytes = "5GB"\n')
    result = await shell("topology", "apply")
    assert result.code == 0, result.err
    assert "rabbitmqctl set_policy --vhost test-" in result.out
    assert '"max-age":"14D"' in result.out
    checked = await shell("topology", "check", "--json")
    assert (checked.code, checked.json["problems"], len(checked.json["notes"])) == (0, [], 1)
    assert (await shell("check")).code == 0

    url = ("--management", rabbitmq.management_url)
    result = await shell("topology", "apply", *url)
    assert (result.code, "set_policy" in result.out) == (0, False)
    policy = (await policies(rabbitmq, amqp_url))[names.LOG_POLICY]
    assert (policy["max-age"], policy["max-length-bytes"]) == ("14D", 5_000_000_000)

    async def kept() -> bool:  # a stream's count is a metric, which comes some seconds later
        return (await topology.depths(amqp_url))[names.EVENTS_LOG][0] == 1

    await pipeline.until(kept, what="the log's event is there")

    config.write_text("")  # back to what it was declared with: the policy would go before that
    assert (await shell("topology", "apply", *url)).code == 0
    assert await policies(rabbitmq, amqp_url) == {}


async def test_a_log_that_was_bounded_may_be_unbounded_again(amqp_url: str, empty_amqp_url: str) -> None:
    bounded = names.topology(Events(log_max_age="7D"))
    expected = names.topology(Events(log_max_age="30D"))
    applied = await topology.apply(amqp_url, expected)
    (difference,) = applied.of(names.EVENTS_LOG)
    assert (difference.argument, difference.expected, difference.current) == ("x-max-age", "30D", "7D")
    assert (await topology.apply(amqp_url, bounded)).differences == []
    assert retention.policy(expected)["definition"]["max-length-bytes"] == names.NO_SIZE_LIMIT


async def test_a_healthy_system_writes_no_errors_into_the_brokers_log(
    amqp_url: str, database_url: str, rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    before = topology.depths

    async def counted(*args: Any, **more: Any) -> dict[str, tuple[int, int]]:
        nonlocal looks
        limited = await before(*args, **more)
        looks += 1
        return limited

    monkeypatch.setattr(depths, "INTERVAL", 0.05)
    monkeypatch.setattr(topology, "depths", counted)
    async with (
        pipeline.running(pipeline.store(amqp_url, database_url), pipeline.route(amqp_url)),
        pipeline.door(amqp_url) as door,
    ):
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
        await pipeline.until(lambda: looks > 5, what="several looks")
    vhost = management.vhost_of(amqp_url)
    log = "".join(file.read_text(errors="replace") for file in rabbitmq.logs.glob("*.log"))
    assert [line for line in log.splitlines() if vhost in line and "[error]" in line] == []
