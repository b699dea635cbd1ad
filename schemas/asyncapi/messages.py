"""The messages of the AsyncAPI document. Pure."""

from typing import Any, TypeAlias

import msgspec

from schemas import cloudevents, envelope, erasure, registry, topology
from schemas.allocation import AllocationRecord
from schemas.asyncapi import shapes
from schemas.asyncapi.shapes import Components, Schema

Part: TypeAlias = dict[str, Any]

BINDING_VERSION = "0.3.0"
REPLY = "reply"
"""The channel of answers. It is not in the topology: the broker creates one per ingress (direct reply-to)."""


class Message(msgspec.Struct, frozen=True):
    """One Message Object, and where it is published."""

    exchange: str
    key: str
    """Routing key, with `*` for what varies; on the default exchange, whose name is empty, the queue."""
    definition: Part


def messages(parts: Components) -> dict[str, Message]:
    """Return all messages by name: `inbound.<platform>.<event>`, `event.<type>`, and those between workers."""
    messages_by_name: dict[str, Message] = {}
    for platform in registry.platforms().values():
        for event in platform.events:
            types = shapes.shapes(platform, event)
            payload = parts.any_of(dict.fromkeys(shape for known in types.values() for shape in known))
            headers = _and(
                parts.refs[shapes.InboundHeaders],
                {"platform": {"const": platform.name}, "event": {"const": event.name}},
            )
            description = "As received, so it may be anything that its sender signed; this is what is documented."
            if platform.repair is not None:
                description += " Where the platform's kind of broken JSON comes, this is what it was meant to be."
            definition = _message(
                cloudevents.JSON, headers, payload, f"{platform.name}: {event.name}, raw", description
            )
            key = topology.inbound_key(platform.name, "*", event.name)
            messages_by_name[f"inbound.{platform.name}.{event.name}"] = Message(topology.INBOUND, key, definition)
            for type_, known in types.items():
                definition = _event(parts, platform.name, type_, parts.any_of(known))
                messages_by_name[f"event.{type_}"] = Message(
                    topology.EVENTS, topology.event_key(type_, "*"), definition
                )
    for platform in registry.platforms().values():
        if (announcement := platform.announcement) is not None:
            definition = _event(parts, platform.name, announcement.event_type, parts.refs[announcement.payload])
            share = f"`data` is one {announcement.recipient}'s share of an order; `data_base64` never comes."
            definition["description"] = f"CloudEvents 1.0. {share}"
            definition["payload"]["allOf"].append({"required": ["data"]})
            key = topology.event_key(announcement.event_type, "*", "*")
            messages_by_name[f"event.{announcement.event_type}"] = Message(topology.EVENTS, key, definition)
    definition = _event(parts, "", erasure.TYPE, parts.refs[erasure.ErasedDocument])
    definition["description"] = "CloudEvents 1.0. A document's content was erased: `data` names it and its events."
    definition["payload"]["allOf"].append({"required": ["data"]})
    key = topology.event_key(erasure.TYPE, "*")
    messages_by_name[f"event.{erasure.TYPE}"] = Message(topology.EVENTS, key, definition)
    return messages_by_name | _between_workers(parts)


def _between_workers(parts: Components) -> dict[str, Message]:
    inbound, dead = parts.refs[shapes.InboundHeaders], parts.refs[shapes.DeadHeaders]
    description = (
        "Which item went where, with the request itself. Known by its AMQP `type`; for the store workers alone."
    )
    record = _message(
        "application/msgpack", inbound, parts.refs[AllocationRecord], "An allocation that was made", description
    )
    record["bindings"] = {"amqp": {"messageType": envelope.RECORD_TYPE, "bindingVersion": BINDING_VERSION}}
    description = "Body and headers are those of the message that failed; see the work queues."
    return {
        "allocation": Message("", topology.STORE, record),
        "dead": Message(
            "", topology.DEAD, _message(cloudevents.OCTETS, dead, {}, "A message that failed", description)
        ),
        "answer": Message(
            "",
            REPLY,
            _message(
                cloudevents.JSON,
                parts.refs[shapes.AnswerHeaders],
                {},
                "What the sender receives",
                "Found by its `correlation_id`: the `message_id` of the request. Not persistent.",
            ),
        ),
    }


def _event(parts: Components, platform: str, type_: str, data: Schema) -> Part:
    own = {"type": {"const": type_}, "source": {"pattern": f"^/{platform or '[^/]+'}/"}, "data": data}
    payload = _and(parts.refs[cloudevents.CloudEvent], own)
    description = "CloudEvents 1.0. `data` is the document as received; `data_base64` replaces it where it is not JSON."
    return _message(cloudevents.CONTENT_TYPE, parts.refs[shapes.EventHeaders], payload, type_, description)


def _message(content_type: str, headers: Schema, payload: Schema, title: str, description: str) -> Part:
    return {
        "title": title,
        "description": description,
        "contentType": content_type,
        "headers": headers,
        "payload": payload,
    }


def _and(schema: Schema, properties: Part) -> Schema:
    """`schema` with more definition of some properties."""
    return {"type": "object", "allOf": [schema, {"properties": properties}]}
