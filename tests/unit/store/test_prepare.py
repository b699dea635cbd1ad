"""From a queued message to what is written of it, and from what was written to events."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from pamqp.commands import Basic

from deploy import config as configuration
from schemas import registry
from schemas.allocation import AllocationRecord, ItemAllocation, encode
from schemas.config import Config
from schemas.envelope import RECORD_TYPE, Envelope, to_properties
from tests.support.storing import at
from workers.store import announce, prepare
from workers.store.allocations import ManufacturerNotice
from workers.store.prepare import NotOurMessageError
from workers.store.versions import Receipt, StoredVersion, Version

NAME = "01932d5e-0000-7000-8000-000000000001"


def properties(platform: str = "apicbase", event: str = "purchase_order", **more: Any) -> Basic.Properties:
    values = {"message_id": NAME, "account": "acme", "received_at": at(0), **more}
    return to_properties(Envelope(platform=platform, event=event, **values))


def config(**apicbase: Any) -> Config:
    return configuration.parse({"accounts": {"apicbase": {"acme": {"secrets": ["s"], **apicbase}}}}, Path())


def _prepare(encoded: Basic.Properties, raw: bytes, settings: Config, *, again: bool = False) -> prepare.Incoming:
    return prepare.prepare(encoded.marshal(), raw, settings, may_be_stored=again)


def test_a_readable_message_has_its_document() -> None:
    raw = registry.example("apicbase", "purchase_order")
    message = _prepare(properties(), raw, config(), again=True)
    assert (message.message_id, message.raw, message.reason, message.may_be_stored) == (UUID(NAME), raw, None, True)
    assert message.document is not None
    assert message.document.reading.type == "apicbase.purchase_order"


def _without(name: str) -> Callable[[Basic.Properties], None]:
    return lambda message_properties: message_properties.headers.pop(name)  # type: ignore[union-attr, return-value]


@pytest.mark.parametrize(
    "spoil",
    [
        _without("platform"),
        _without("received-at"),
        lambda message_properties: setattr(message_properties, "message_id", None),
        lambda message_properties: setattr(message_properties, "message_id", "not-a-uuid"),
        lambda message_properties: message_properties.headers.update({"received-at": "2026-11-10T12:00:00"}),
        lambda message_properties: message_properties.headers.update({"received-at": "yesterday"}),
        lambda message_properties: setattr(message_properties, "message_type", RECORD_TYPE),
    ],
)
def test_a_foreign_message_is_refused(spoil: Callable[[Basic.Properties], object]) -> None:
    message_properties = properties()
    spoil(message_properties)
    with pytest.raises(NotOurMessageError):
        _prepare(message_properties, b'{"id": "I1"}', config())


@pytest.mark.parametrize(
    ("platform", "event", "raw", "reason"),
    [
        ("fax", "purchase_order", b"{}", "unknown platform 'fax'"),
        ("apicbase", "nothing", b"{}", "nothing"),
        ("apicbase", "purchase_order", b"{}", "id"),
        ("apicbase", "purchase_order", b"\x00", "JSON"),
        ("channelape", "receipt_confirmation", b"[" * 100_000, ""),
    ],
)
def test_an_unreadable_message_is_quarantined_unchanged(platform: str, event: str, raw: bytes, reason: str) -> None:
    message = _prepare(properties(platform, event), raw, config())
    assert message.document is None
    assert message.raw == raw
    assert message.reason is not None
    assert reason in message.reason
    assert "\0" not in message.reason


def test_an_order_that_the_account_refuses_goes_to_quarantine() -> None:
    raw = registry.example("apicbase", "purchase_order")
    message = _prepare(properties(), raw, config(customers=["nobody"]))
    assert message.document is None
    assert message.reason is not None
    assert message.reason.startswith("refused: ")


def test_the_route_workers_record_has_the_request_and_its_allocations() -> None:
    raw = registry.example("ustore", "manufacturer_allocation")
    items = [ItemAllocation("3087", "2", "the rest")]
    message_properties = properties("ustore", "manufacturer_allocation", type=RECORD_TYPE)
    message = _prepare(message_properties, encode(AllocationRecord(raw, items)), config())
    assert (message.raw, message.allocations) == (raw, items)
    assert message.document is not None
    assert message.document.reading.key == "5295"


def stored(message: prepare.Incoming) -> StoredVersion:
    assert message.document is not None
    first = Receipt(at(0), message.message_id, message.document.digest)
    return StoredVersion(1, message, Version(UUID(int=7), 3, message.document.digest, 0, first, at(0)))


def test_an_event_carries_what_was_received() -> None:
    raw = registry.example("apicbase", "purchase_order").replace(b"{", b'{ "n":1.10,', 1)
    message = _prepare(properties(traceparent="00-1-2-01"), raw, config())
    (event,) = announce.events([stored(message)], [])
    event_data = msgspec.json.decode(event.body)
    assert (event.exchange, event.key, event.message_id) == (
        "crossdock.events",
        "apicbase.purchase_order.acme",
        str(UUID(int=7)),
    )
    assert (event_data["id"], event_data["version"], event_data["subject"], event_data["source"]) == (
        event.message_id,
        3,
        "65f1c0a2d7e84b0012c3a9f4",
        "/apicbase/acme",
    )
    assert raw in event.body
    assert event_data["traceparent"] == "00-1-2-01"


def test_an_event_of_a_body_that_is_not_json_carries_its_bytes() -> None:
    raw = b'{"id":"S1","x":"\xff"}'
    message = _prepare(properties("channelape", "ship_confirmation"), raw, config())
    (event,) = announce.events([stored(message)], [])
    event_data = msgspec.json.decode(event.body)
    assert (event_data["subject"], event_data["datacontenttype"]) == ("S1", "application/octet-stream")
    assert base64.b64decode(event_data["data_base64"]) == raw


@pytest.mark.parametrize("traceparent", [None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
def test_properties_of_events_are_what_the_general_encoder_makes(traceparent: str | None) -> None:
    headers: dict[str, Any] = {"traceparent": traceparent} if traceparent else {}
    general = Basic.Properties(
        content_type="application/cloudevents+json", headers=headers, delivery_mode=2, message_id=NAME
    )
    assert announce.outgoing("key", NAME, traceparent, b"{}").properties == general.marshal()


def test_a_platform_without_an_announcement_has_no_events_for_shares() -> None:
    allocations = [ItemAllocation("1", "2", "the rest")]
    message = msgspec.structs.replace(
        _prepare(properties(), registry.example("apicbase", "purchase_order"), config()), allocations=allocations
    )
    notice = ManufacturerNotice(message, UUID(int=7), 1, ("2",), document_id=1)
    assert list(announce.shares(notice)) == []
