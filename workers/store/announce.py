"""What has been committed, as messages on `crossdock.events`."""

from collections import defaultdict
from collections.abc import Iterator

import msgspec
from pamqp.commands import Basic

from schemas import cloudevents, topology
from schemas.platforms.ustore import manufacturer_order
from workers.store.allocations import Told, event_id
from workers.store.rows import Stored
from workers.store.write import Written


class Outgoing(msgspec.Struct, frozen=True):
    """One message for the burst publisher."""

    routing_key: str
    properties: bytes
    name: str
    """AMQP message id: the event's own, the same whenever it is published."""
    body: bytes


def events(written: Written) -> Iterator[Outgoing]:
    """A CloudEvent a version, and one a manufacturer that has news."""
    for stored in written.versions:
        yield _event(stored)
    for told in written.told:
        yield from _manufacturers(told)


def _event(stored: Stored) -> Outgoing:
    about, document = stored.message.envelope, stored.document
    reading, name = document.reading, str(stored.id)
    body = cloudevents.encode(
        id=name,
        platform=about.platform,
        account=about.account,
        type=reading.type,
        key=reading.key,
        received_at=about.received_at,
        version=stored.run.version,
        traceparent=about.traceparent,
        data=document.data,
        raw=stored.message.raw,
    )
    return outgoing(topology.event_key(reading.type, about.account), name, about.traceparent, body)


def _manufacturers(told: Told) -> Iterator[Outgoing]:
    message = told.message
    about, document = message.envelope, message.document
    assert document is not None
    assert message.allocations is not None
    items: dict[str, list[str]] = defaultdict(list)
    for allocation in message.allocations:
        items[allocation.manufacturer].append(allocation.item)
    for manufacturer, data in manufacturer_order.split(message.raw, message.allocations).items():
        if manufacturer not in told.manufacturers:
            continue
        name = str(event_id(told.version_id, manufacturer, items[manufacturer]))
        body = cloudevents.encode(
            id=name,
            platform=about.platform,
            account=about.account,
            type=manufacturer_order.TYPE,
            key=document.reading.key,
            received_at=about.received_at,
            version=told.version,
            traceparent=about.traceparent,
            data=data,
            raw=data,
        )
        key = topology.event_key(manufacturer_order.TYPE, about.account, manufacturer)
        yield outgoing(key, name, about.traceparent, body)


def outgoing(routing_key: str, name: str, traceparent: str | None, body: bytes) -> Outgoing:
    """Persistent, as a CloudEvent in structured mode."""
    properties = Basic.Properties(
        content_type=cloudevents.CONTENT_TYPE,
        headers={"traceparent": traceparent} if traceparent else None,
        delivery_mode=2,
        message_id=name,
    )
    return Outgoing(routing_key, properties.marshal(), name, body)
