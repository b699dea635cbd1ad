"""JSON Schemas of the messages on the queues, made from the Structs that read and write them.

Draft 7, of which AsyncAPI's own schemas are a superset; msgspec uses nothing that a later draft interprets differently.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from schemas import registry
from schemas.cloudevents import CloudEvent
from schemas.platform import Event, Platform

Schema: TypeAlias = dict[str, Any]
Shape: TypeAlias = type[msgspec.Struct]
Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""RFC 3339, as `schemas.envelope` writes it."""


class InboundHeaders(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """AMQP headers of a raw body. Never a secret: no query string, no credential, no signature."""

    platform: str
    account: str
    event: str
    received_at: Moment
    """When the whole body had been read: UTC, microseconds."""
    traceparent: str | UnsetType = UNSET
    deadline: Moment | UnsetType = UNSET
    """Time after which the sender no longer waits for an answer."""
    accept_language: str | UnsetType = UNSET
    clock: str | UnsetType = UNSET
    """Seconds of the ingress's monotonic clock, for workers that answer: what a request has waited."""
    verdict: str | UnsetType = UNSET
    """The answer to the sender of an order: `accepted`, or the reason for the refusal."""


class EventHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """AMQP headers of an event. The event's own attributes are in its body."""

    traceparent: str | UnsetType = UNSET


class DeadHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """The message's own headers, and the reason for the failure; if the broker dead-lettered it, `x-death` instead."""

    reason: str | UnsetType = UNSET
    queue: str | UnsetType = UNSET


class AnswerHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """AMQP headers of a worker's answer: the HTTP status of the response to the sender."""

    status: int


class Components(msgspec.Struct, frozen=True):
    """Schemas by name, and the reference to each Struct's schema."""

    schemas: dict[str, Schema]
    refs: dict[Shape, Schema]

    def any_of(self, shapes: Iterable[Shape]) -> Schema:
        """Return the schema of a value of any of these shapes."""
        refs = [self.refs[shape] for shape in shapes]
        return refs[0] if len(refs) == 1 else {"anyOf": refs}


def components(shapes: Mapping[str, Iterable[Shape]]) -> Components:
    """Return the schemas of `shapes`, grouped by the prefix of their names: each platform has its own `Order`."""
    result = Components({}, {})
    for prefix, group in shapes.items():
        shapes_of_group = list(dict.fromkeys(group))
        start = f"{prefix}." if prefix else ""
        refs, schemas = msgspec.json.schema_components(
            shapes_of_group, ref_template=f"#/components/schemas/{start}{{name}}"
        )
        result.refs.update(zip(shapes_of_group, refs, strict=True))
        result.schemas.update({f"{start}{name}": schema for name, schema in sorted(schemas.items())})
    if CloudEvent in result.refs:
        _constrain(result.schemas[CloudEvent.__name__])
    return result


def _constrain(event: Schema) -> None:
    """Add the constraints of CloudEvents 1.0 that the Struct does not express."""
    properties = event["properties"]
    properties["specversion"] = {"const": "1.0"}
    properties["time"]["format"] = "date-time"
    properties["version"]["minimum"] = 1
    properties["data_base64"]["contentEncoding"] = "base64"
    for name in ("id", "source", "type", "subject"):
        properties[name]["minLength"] = 1
    event["required"].insert(0, "specversion")
    event["oneOf"] = [{"required": ["data"]}, {"required": ["data_base64"]}]


def shapes(platform: Platform, event: Event) -> dict[str, tuple[Shape, ...]]:
    """Return the Structs that bodies of an event are decoded as, by event type, according to its examples."""
    shapes_by_type: dict[str, dict[Shape, None]] = {}
    for name in event.examples:
        raw = registry.example(platform.name, name)
        shape = type(platform.decode(event.name, raw))
        shapes_by_type.setdefault(platform.read(event.name, raw).type, {})[shape] = None
    every = tuple({shape: None for known in shapes_by_type.values() for shape in known})
    return {type_: tuple(shapes_by_type.get(type_, every)) for type_ in event.types}
