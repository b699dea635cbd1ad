"""The AsyncAPI document says what is on the queues: held against examples, the topology and the official parser."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest

from deploy.cli.topology import asyncapi as command
from schemas import allocation, cloudevents, consumers, documents, erasure, registry, topology
from schemas.asyncapi import document as generated
from schemas.envelope import Envelope, to_properties
from schemas.platforms.ustore import manufacturer_order
from tests.contract import checks
from tests.support import node
from tests.support.tools import MissingToolError

FILE = Path(__file__).parents[2] / "docs" / "asyncapi.json"
REGENERATE = "docs/asyncapi.json is behind: run `.venv/bin/crossdock asyncapi > docs/asyncapi.json`"
MOMENT = datetime(2026, 11, 21, 9, 30, 0, 120, tzinfo=UTC)
ERROR = 0
"""Severity of the official parser's diagnostics; 1 is a warning."""
PARSER_TIMEOUT = 600
"""Seconds, with the installation of its packages."""

Document = dict[str, Any]
CASES = checks.cases()


@pytest.fixture(scope="module")
def document() -> Document:
    """As it is in the repository."""
    result: Document = json.loads(FILE.read_text())
    return result


def problems(document: Document, message: str, value: Any, part: str = "payload") -> list[str]:
    """What is wrong with the payload, or the headers, of a message."""
    schema = {"allOf": [document["components"]["messages"][message][part]], "components": document["components"]}
    validator = jsonschema_rs.Draft7Validator(schema, validate_formats=True)
    return [str(error) for error in validator.iter_errors(value)]


def inbound(case: checks.Case) -> str:
    return f"inbound.{case.platform.name}.{case.event.name}"


def as_json(case: checks.Case) -> Any:
    """The example, repaired where it is the platform's kind of broken JSON."""
    try:
        return json.loads(case.raw)
    except json.JSONDecodeError:
        assert case.platform.repair is not None
        return json.loads(case.platform.repair(case.raw) or b"")


def event(type_: str, platform: str, data: bytes | None, raw: bytes = b"") -> Any:
    """A CloudEvent as it is published."""
    return json.loads(
        cloudevents.encode(
            id="0193-1",
            platform=platform,
            account="rothys",
            type=type_,
            key="27d7",
            received_at=MOMENT,
            version=1,
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            data=data,
            raw=raw,
        )
    )


def test_the_stored_document_is_the_one_that_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    command()
    assert capsys.readouterr().out == FILE.read_text(), REGENERATE


@pytest.mark.parametrize("case", CASES, ids=str)
def test_examples_match_the_document(case: checks.Case, document: Document) -> None:
    assert problems(document, inbound(case), as_json(case)) == []
    described = documents.describe(case.platform, case.event.name, case.raw)
    type_ = described.reading.type
    assert described.data is not None
    assert problems(document, f"event.{type_}", event(type_, case.platform.name, described.data)) == []
    assert problems(document, f"event.{type_}", event(type_, case.platform.name, None, case.raw)) == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_broken_bodies_are_refused(case: checks.Case, document: Document) -> None:
    for no_document in ("[]", "null", '"text"', "7"):
        assert problems(document, inbound(case), json.loads(no_document))
    type_ = case.expected["type"]
    good = event(type_, case.platform.name, json.dumps(as_json(case)).encode())
    both = good | {"data_base64": base64.b64encode(case.raw).decode()}
    none = {key: value for key, value in good.items() if key != "data"}
    for wrong in (good | {"type": "another"}, good | {"version": 0}, good | {"time": "today"}, both, none):
        assert problems(document, f"event.{type_}", wrong)
    assert problems(document, f"event.{type_}", good | {"source": "/another/rothys"})
    assert problems(document, f"event.{type_}", good | {"data": []})


def test_a_broken_part_far_inside_is_refused(document: Document) -> None:
    order = json.loads(registry.example("channelape", "receipt_confirmation"))
    name = "inbound.channelape.receipt_confirmation"
    assert problems(document, name, order) == []
    order["lineItems"][0] = "not a line"
    assert problems(document, name, order)


def test_manufacturers_events_match_the_document(document: Document) -> None:
    name = f"event.{manufacturer_order.TYPE}"
    for example in registry.event("ustore", "manufacturer_allocation").examples:
        raw = registry.example("ustore", example)
        products = json.loads(raw)["Order"]["OrderProducts"]["OrderProduct"]
        items = [entry["@id"] for entry in (products if isinstance(products, list) else [products])]
        chosen = [allocation.ItemAllocation(item, str(number % 2), "rule 1") for number, item in enumerate(items)]
        parts = manufacturer_order.split(raw, chosen)
        assert parts
        for data in parts.values():
            assert problems(document, name, event(manufacturer_order.TYPE, "ustore", data)) == []
            assert problems(document, name, event(manufacturer_order.TYPE, "ustore", None, data))
            whole = json.loads(data)
            for wrong in (whole | {"items": ["none"]}, {key: whole[key] for key in whole if key != "manufacturerId"}):
                assert problems(document, name, event(manufacturer_order.TYPE, "ustore", json.dumps(wrong).encode()))


def test_the_event_of_an_erasure_matches_the_document(document: Document) -> None:
    name = f"event.{erasure.TYPE}"
    data = erasure.data(platform="ustore", account="shop", type="ustore.x", key="7", event_ids=[UUID(int=1)])
    assert problems(document, name, event(erasure.TYPE, "ustore", data)) == []
    assert problems(document, name, event(erasure.TYPE, "ustore", None, data))
    assert problems(document, name, event(erasure.TYPE, "ustore", data.replace(b"event_ids", b"events")))


def test_every_type_and_event_has_its_message(document: Document) -> None:
    platforms = registry.platforms().values()
    expected = {f"inbound.{platform.name}.{event.name}" for platform in platforms for event in platform.events}
    expected |= {f"event.{type_}" for platform in platforms for event in platform.events for type_ in event.types}
    expected |= {f"event.{manufacturer_order.TYPE}", f"event.{erasure.TYPE}", "allocation", "dead", "answer"}
    assert set(document["components"]["messages"]) == expected
    placed = {name for channel in document["channels"].values() for name in channel["messages"]}
    assert placed == expected


def test_every_exchange_queue_and_binding_is_in_it(document: Document) -> None:
    entries = [
        (channel["bindings"]["amqp"], channel) for channel in document["channels"].values() if "bindings" in channel
    ]
    exchanges = {
        (amqp["exchange"]["name"], amqp["exchange"]["type"], json.dumps(channel.get("x-arguments", {})))
        for amqp, channel in entries
        if amqp["is"] == "routingKey"
    }
    queues = {
        (amqp["queue"]["name"], json.dumps(channel["x-arguments"]))
        for amqp, channel in entries
        if amqp["is"] == "queue"
    }
    bindings = {
        (entry["exchange"], amqp["queue"]["name"], entry["routingKey"])
        for amqp, channel in entries
        for entry in channel.get("x-bindings", [])
    }
    expected = topology.topology()
    assert exchanges == {
        (exchange.name, exchange.type, json.dumps(exchange.arguments)) for exchange in expected.exchanges
    }
    consumer, _ = consumers.queues(consumers.Consumer(name="{name}", types=["*"], accounts=["*"]))
    assert queues == {(entry.name, json.dumps(entry.arguments)) for entry in (*expected.queues, consumer)}
    assert bindings == {(binding.exchange, binding.queue, binding.routing_key) for binding in expected.bindings}
    assert all((amqp.get("exchange") or amqp["queue"])["durable"] for amqp, _ in entries)


@pytest.mark.parametrize(
    ("channel", "holds", "lacks"),
    [
        ("crossdock.inbound", "inbound.apicbase.purchase_order", "event.apicbase.purchase_order"),
        ("crossdock.unrouted.exchange", "inbound.apicbase.purchase_order", "event.apicbase.purchase_order"),
        ("crossdock.unrouted", "inbound.apicbase.purchase_order", "event.apicbase.purchase_order"),
        ("crossdock.events", "event.ecomnow.order_cancellation", "event.ustore.manufacturer_order"),
        ("crossdock.events.manufacturers", "event.ustore.manufacturer_order", "event.ecomnow.new_order"),
        ("crossdock.events.log", "event.ustore.manufacturer_order", "inbound.apicbase.purchase_order"),
        ("crossdock.store", "allocation", "dead"),
        ("crossdock.store", "inbound.ecomnow.notification", "event.ecomnow.new_order"),
        ("crossdock.route.ustore", "inbound.ustore.manufacturer_allocation", "inbound.apicbase.purchase_order"),
        ("crossdock.dead", "dead", "allocation"),
    ],
)
def test_each_channel_has_its_own_messages_only(channel: str, holds: str, lacks: str, document: Document) -> None:
    result = document["channels"][channel]["messages"]
    assert holds in result
    assert lacks not in result


def test_every_address_says_its_parameters(document: Document) -> None:
    channels = document["channels"]
    assert set(channels["crossdock.inbound"]["parameters"]) == {"platform", "account", "event"}
    assert channels["crossdock.inbound"]["parameters"]["platform"]["enum"] == list(registry.platforms())
    assert set(channels["crossdock.events"]["parameters"]) == {"type", "account"}
    assert "ecomnow.new_order" in channels["crossdock.events"]["parameters"]["type"]["enum"]
    assert set(channels["crossdock.events.manufacturers"]["parameters"]) == {"account", "manufacturer"}


def test_every_header_is_described(document: Document) -> None:
    envelope = Envelope(
        message_id="1",
        platform="ustore",
        account="printshop",
        event="manufacturer_allocation",
        received_at=MOMENT,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        reply_to="x",
        deadline=MOMENT.timestamp(),
        language="de",
        clock=12.5,
        verdict="accepted",
    )
    headers = to_properties(envelope).headers or {}
    schema = document["components"]["schemas"]["InboundHeaders"]
    assert set(schema["properties"]) == set(headers)
    few = to_properties(Envelope(message_id="1", platform="p", account="a", event="e", received_at=MOMENT)).headers
    assert set(schema["required"]) == set(few or {})
    name = "inbound.ustore.manufacturer_allocation"
    assert problems(document, name, headers, "headers") == []
    for wrong in (headers | {"platform": "apicbase"}, headers | {"deadline": "soon"}, {"platform": "ustore"}):
        assert problems(document, name, wrong, "headers"), wrong


def ask_the_parser(*texts: str) -> list[Document]:
    """What the official parser makes of each document."""
    try:
        parsed: list[Document] = json.loads(node.run("validate.mjs", stdin=json.dumps(texts)))
    except MissingToolError as why:
        pytest.skip(f"the official AsyncAPI parser can't be asked: {why}")
    return parsed


def errors(parsed: Document) -> list[Any]:
    return [entry for entry in parsed["diagnostics"] if entry["severity"] == ERROR]


@pytest.mark.timeout(PARSER_TIMEOUT)
def test_the_official_parser_accepts_the_document(document: Document) -> None:
    broken = json.loads(FILE.read_text())
    broken["operations"]["send.crossdock.events"]["action"] = "shout"
    parsed, refused = ask_the_parser(FILE.read_text(), json.dumps(broken))
    assert errors(parsed) == []
    assert set(parsed["channels"]) == set(document["channels"])
    assert set(parsed["messages"]) == set(document["components"]["messages"])
    assert errors(refused)


def test_a_new_platform_is_in_it_by_itself(fifth: str) -> None:
    before: Document = json.loads(FILE.read_text())
    after = generated.document()
    new = {f"inbound.{fifth}.hand_over", f"event.{fifth}.hand_over", f"event.{fifth}.flight"}
    assert set(after["components"]["messages"]) - set(before["components"]["messages"]) == new
    assert set(after["channels"]) - set(before["channels"]) == {topology.reply_queue(fifth), "crossdock.events.birds"}
    schemas = set(after["components"]["schemas"]) - set(before["components"]["schemas"])
    shapes = ("HandOver", "Parcel", "Flight", "AllocationRecord", "ItemAllocation")
    assert schemas == {f"{fifth}.{shape}" for shape in shapes}
    (case,) = checks.cases(fifth)
    assert problems(after, inbound(case), as_json(case)) == []
    assert problems(after, inbound(case), {"parcels": "none"})


def test_operations_are_from_where_crossdock_stands(document: Document) -> None:
    operations = document["operations"]
    assert {name for name in operations if name.startswith("receive.")} == {
        f"receive.{queue.name}" for queue in topology.topology().queues if "x-dead-letter-exchange" in queue.arguments
    }
    assert all(operations[name]["action"] == name.partition(".")[0] for name in operations)
    assert {name for name in operations if "reply" in operations[name]} == {
        f"receive.{topology.reply_queue(platform.name)}"
        for platform in registry.platforms().values()
        if any(event.reply for event in platform.events)
    }
    assert [entry["$ref"] for entry in operations["send.crossdock.store"]["messages"]] == [
        "#/channels/crossdock.store/messages/allocation"
    ]
    assert "send.crossdock.unrouted.exchange" not in operations


def test_every_reference_leads_somewhere(document: Document) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [reference for child in value.values() for reference in references(child)]
        return [reference for child in value for reference in references(child)] if isinstance(value, list) else []

    result = references(document)
    assert result
    for reference in result:
        at: Any = document
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]
