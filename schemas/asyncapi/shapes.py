"""JSON Schema of what is on the queues, made of the Structs that read and write it.

Draft 7, which AsyncAPI's own schemas are a superset of; msgspec writes nothing that a later draft means otherwise.
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
    """When nobody waits for an answer any more."""
    accept_language: str | UnsetType = UNSET
    clock: str | UnsetType = UNSET
    """Seconds of the ingress's monotonic clock, for workers that answer: what a request has waited."""
    verdict: str | UnsetType = UNSET
    """What the sender of an order was told: `accepted`, or the reason why it was refused."""


class EventHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """AMQP headers of an event. The event's own attributes are in its body."""

    traceparent: str | UnsetType = UNSET


class DeadHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """The message's own headers, and why it is here. Where the broker gave up on it, `x-death` says so instead."""

    reason: str | UnsetType = UNSET
    queue: str | UnsetType = UNSET


class AnswerHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """AMQP headers of a worker's answer: the HTTP status that the sender shall get."""

    status: int


class Components(msgspec.Struct, frozen=True):
    """Schemas by name, and where each Struct's own is."""

    schemas: dict[str, Schema]
    refs: dict[Shape, Schema]

    def any_of(self, shapes: Iterable[Shape]) -> Schema:
        """One of these."""
        refs = [self.refs[shape] for shape in shapes]
        return refs[0] if len(refs) == 1 else {"anyOf": refs}


def components(shapes: Mapping[str, Iterable[Shape]]) -> Components:
    """By the prefix that keeps names apart: each platform has its own `Order`. No prefix where it is empty."""
    made = Components({}, {})
    for prefix, group in shapes.items():
        wanted = list(dict.fromkeys(group))
        start = f"{prefix}." if prefix else ""
        refs, schemas = msgspec.json.schema_components(wanted, ref_template=f"#/components/schemas/{start}{{name}}")
        made.refs.update(zip(wanted, refs, strict=True))
        made.schemas.update({f"{start}{name}": schema for name, schema in sorted(schemas.items())})
    if CloudEvent in made.refs:
        _say_more(made.schemas[CloudEvent.__name__])
    return made


def _say_more(event: Schema) -> None:
    """What CloudEvents 1.0 asks for and the Struct, which is also built by hand, leaves open."""
    said = event["properties"]
    said["specversion"] = {"const": "1.0"}
    said["time"]["format"] = "date-time"
    said["version"]["minimum"] = 1
    said["data_base64"]["contentEncoding"] = "base64"
    for name in ("id", "source", "type", "subject"):
        said[name]["minLength"] = 1
    event["required"].insert(0, "specversion")
    event["oneOf"] = [{"required": ["data"]}, {"required": ["data_base64"]}]


def shapes(platform: Platform, event: Event) -> dict[str, tuple[Shape, ...]]:
    """By event type, the Structs that bodies of this event are read as; its examples tell."""
    found: dict[str, dict[Shape, None]] = {}
    for name in event.examples:
        raw = registry.example(platform.name, name)
        shape = type(platform.decode(event.name, raw))
        found.setdefault(platform.read(event.name, raw).type, {})[shape] = None
    every = tuple({shape: None for known in found.values() for shape in known})
    return {type_: tuple(found.get(type_, every)) for type_ in event.types}
