"""What has been committed, as messages on `crossdock.events`."""

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from uuid import UUID

import msgspec
import pamqp.encode

from broker.outgoing import Outgoing
from schemas import cloudevents, topology
from schemas.platforms.ustore import manufacturer_order
from workers.store.allocations import ManufacturerNotice, event_id
from workers.store.versions import StoredVersion


def events(versions: Iterable[StoredVersion], told: Iterable[ManufacturerNotice]) -> Iterator[Outgoing]:
    """A CloudEvent a version, and one a manufacturer that has news."""
    for _, event in events_by_version(versions, told):
        yield event


def events_by_version(
    versions: Iterable[StoredVersion], told: Iterable[ManufacturerNotice]
) -> Iterator[tuple[UUID, Outgoing]]:
    """The same, each with the id of the version that it is about."""
    for stored in versions:
        yield stored.id, _event(stored)
    for one in told:
        for event in _manufacturers(one):
            yield one.version_id, event


def without_data(event: Outgoing, version_id: UUID, public_url: str) -> Outgoing:
    """Return an event that is too large for the broker as one that says where the whole of it can be read."""
    dataref = f"{public_url.rstrip('/')}/v1/events/{version_id}"
    return event._replace(body=cloudevents.refer(event.body, dataref))


def _event(stored: StoredVersion) -> Outgoing:
    about, document = stored.message.envelope, stored.document
    reading, name = document.reading, str(stored.id)
    body = cloudevents.encode(
        id=name,
        platform=about.platform,
        account=about.account,
        type=reading.type,
        key=reading.key,
        received_at=about.received_at,
        version=stored.version.number,
        traceparent=about.traceparent,
        data=document.data,
        raw=stored.message.raw,
    )
    return outgoing(topology.event_key(reading.type, about.account), name, about.traceparent, body)


class Part(msgspec.Struct, frozen=True):
    """A manufacturer's share of an order."""

    id: UUID
    manufacturer: str
    data: bytes


def parts(told: ManufacturerNotice) -> Iterator[Part]:
    """One a manufacturer that has news."""
    message = told.message
    assert message.allocations is not None
    items: dict[str, list[str]] = defaultdict(list)
    for allocation in message.allocations:
        items[allocation.manufacturer].append(allocation.item)
    raw = message.raw if message.document is None else message.document.data or message.raw
    for manufacturer, data in manufacturer_order.split(raw, message.allocations).items():
        if manufacturer in told.manufacturers:
            yield Part(event_id(told.version_id, manufacturer, items[manufacturer]), manufacturer, data)


def _manufacturers(told: ManufacturerNotice) -> Iterator[Outgoing]:
    about, document = told.message.envelope, told.message.document
    assert document is not None
    for part in parts(told):
        name = str(part.id)
        body = cloudevents.encode(
            id=name,
            platform=about.platform,
            account=about.account,
            type=manufacturer_order.TYPE,
            key=document.reading.key,
            received_at=about.received_at,
            version=told.version,
            traceparent=about.traceparent,
            data=part.data,
            raw=part.data,
        )
        key = topology.event_key(manufacturer_order.TYPE, about.account, part.manufacturer)
        yield outgoing(key, name, about.traceparent, body)


_LENGTH = struct.Struct(">I")
_PERSISTENT = b"\x02"
# AMQP 0-9-1 §4.2.6.1: content-type, headers, delivery-mode and message-id are bits 15, 13, 12 and 7.
_HEAD = struct.pack(">H", 1 << 15 | 1 << 13 | 1 << 12 | 1 << 7)
_HEAD += pamqp.encode.short_string(cloudevents.CONTENT_TYPE)
_TRACEPARENT = b"\x0btraceparentS"
_UNTRACED = _HEAD + _LENGTH.pack(0) + _PERSISTENT


def _traced(size: int) -> bytes:
    """All that stands before a trace context of that many bytes."""
    return _HEAD + _LENGTH.pack(len(_TRACEPARENT) + 4 + size) + _TRACEPARENT + _LENGTH.pack(size)


_W3C = 55
"""Bytes of a trace context of version 00: what nearly all have."""
_TRACED = _traced(_W3C)


def outgoing(routing_key: str, name: str, traceparent: str | None, body: bytes) -> Outgoing:
    """Persistent, as a CloudEvent in structured mode. One a stored version: encoded by hand, and held against the
    general encoder by a test."""
    identity = name.encode()
    if traceparent:
        said = traceparent.encode()
        head = _TRACED if len(said) == _W3C else _traced(len(said))
        properties = b"%b%b%b%c%b" % (head, said, _PERSISTENT, len(identity), identity)
    else:
        properties = b"%b%c%b" % (_UNTRACED, len(identity), identity)
    return Outgoing(topology.EVENTS, routing_key, properties, name, body)
