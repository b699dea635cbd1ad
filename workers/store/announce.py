"""What was committed, as messages for `crossdock.events`."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from uuid import UUID

import msgspec
import pamqp.encode

from broker.outgoing import Outgoing
from schemas import cloudevents, properties, registry, topology
from workers.store.allocations import ManufacturerNotice
from workers.store.ids import share_event_id
from workers.store.versions import StoredVersion


def events(versions: Iterable[StoredVersion], notices: Iterable[ManufacturerNotice]) -> Iterator[Outgoing]:
    """Yield one CloudEvent per version, and one per manufacturer that must be notified."""
    for _, event in events_by_version(versions, notices):
        yield event


def events_by_version(
    versions: Iterable[StoredVersion], notices: Iterable[ManufacturerNotice]
) -> Iterator[tuple[UUID, Outgoing]]:
    """Yield the same events, each with the id of the version that it is about."""
    for stored in versions:
        yield stored.id, _version_event(stored)
    for notice in notices:
        for event in _share_events(notice):
            yield notice.version_id, event


def without_data(event: Outgoing, version_id: UUID, public_url: str) -> Outgoing:
    """Return an event that is too large for the broker with a reference to its data instead of the data itself."""
    return event._replace(body=cloudevents.refer(event.body, cloudevents.reference(public_url, version_id)))


def _version_event(stored: StoredVersion) -> Outgoing:
    envelope, document = stored.message.envelope, stored.document
    reading, event_id = document.reading, str(stored.id)
    body = cloudevents.encode(
        id=event_id,
        platform=envelope.platform,
        account=envelope.account,
        type=reading.type,
        key=reading.key,
        received_at=envelope.received_at,
        version=stored.version.number,
        traceparent=envelope.traceparent,
        data=document.data,
        raw=stored.message.raw,
    )
    return outgoing(topology.event_key(reading.type, envelope.account), event_id, envelope.traceparent, body)


class Share(msgspec.Struct, frozen=True):
    """A manufacturer's share of an order, as an event."""

    event_id: UUID
    type: str
    manufacturer: str
    data: bytes


def shares(notice: ManufacturerNotice) -> Iterator[Share]:
    """Yield the share of each manufacturer that must be notified, as the platform announces it."""
    message = notice.message
    announcement = registry.platforms()[message.envelope.platform].announcement
    if announcement is None:
        return
    assert message.allocations is not None
    items: dict[str, list[str]] = defaultdict(list)
    for allocation in message.allocations:
        items[allocation.manufacturer].append(allocation.item)
    raw = message.raw if message.document is None else message.document.data or message.raw
    for manufacturer, data in announcement.split(raw, message.allocations).items():
        if manufacturer in notice.manufacturers:
            event_id = share_event_id(notice.version_id, manufacturer, items[manufacturer])
            yield Share(event_id, announcement.event_type, manufacturer, data)


def _share_events(notice: ManufacturerNotice) -> Iterator[Outgoing]:
    envelope, document = notice.message.envelope, notice.message.document
    assert document is not None
    for share in shares(notice):
        event_id = str(share.event_id)
        body = cloudevents.encode(
            id=event_id,
            platform=envelope.platform,
            account=envelope.account,
            type=share.type,
            key=document.reading.key,
            received_at=envelope.received_at,
            version=notice.version,
            traceparent=envelope.traceparent,
            data=share.data,
            raw=share.data,
        )
        key = topology.event_key(share.type, envelope.account, share.manufacturer)
        yield outgoing(key, event_id, envelope.traceparent, body)


_PERSISTENT = bytes((properties.PERSISTENT,))
_HEAD = properties.FLAGS.pack(
    properties.CONTENT_TYPE | properties.HEADERS | properties.DELIVERY_MODE | properties.MESSAGE_ID
) + pamqp.encode.short_string(cloudevents.CONTENT_TYPE)
_UNTRACED = _HEAD + properties.LENGTH.pack(0) + _PERSISTENT


def _traced(size: int) -> bytes:
    """Return everything that comes before a trace context of `size` bytes."""
    start = properties.header_start("traceparent", size)
    return _HEAD + properties.LENGTH.pack(len(start) + size) + start


_W3C = 55
"""Bytes of a trace context of version 00, which nearly all messages have."""
_TRACED = _traced(_W3C)


def outgoing(routing_key: str, event_id: str, traceparent: str | None, body: bytes) -> Outgoing:
    """Return a CloudEvent in structured mode as a persistent message.

    Its properties are encoded by hand, since there is one per stored version; a test compares them with those of the
    general encoder.
    """
    message_id = event_id.encode()
    if traceparent:
        trace = traceparent.encode()
        head = _TRACED if len(trace) == _W3C else _traced(len(trace))
        encoded = b"%b%b%b%c%b" % (head, trace, _PERSISTENT, len(message_id), message_id)
    else:
        encoded = b"%b%c%b" % (_UNTRACED, len(message_id), message_id)
    return Outgoing(topology.EVENTS, routing_key, encoded, event_id, body)
