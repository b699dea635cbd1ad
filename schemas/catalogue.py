"""The catalogue of event types (contract §12): what there is to subscribe to, with a schema and an example of each."""

from functools import cache
from typing import Any
from uuid import UUID

import msgspec

from schemas import documents, erasure, registry
from schemas.allocation import ItemAllocation
from schemas.asyncapi import shapes
from schemas.platform import Platform

_EXAMPLE_ID = UUID("0198c0de-0000-8000-8000-000000000000")


class EventType(msgspec.Struct, frozen=True, kw_only=True):
    """One type of events."""

    type: str
    platform: str | None
    """None for events of Crossdock itself."""
    example: msgspec.Raw
    """The `data` of an event of this type."""
    json_schema: dict[str, Any] = msgspec.field(name="schema")
    """JSON Schema of the `data`. A value without a type is as its platform sends it."""


@cache
def event_types() -> tuple[EventType, ...]:
    """Return all types, sorted."""
    types = [_erasures()]
    for platform in registry.platforms().values():
        types += _types(platform)
    return tuple(sorted(types, key=lambda event_type: event_type.type))


def _types(platform: Platform) -> list[EventType]:
    known: dict[str, EventType] = {}
    for event in platform.events:
        for name in event.examples:
            raw = registry.example(platform.name, name)
            document = documents.describe(platform, event.name, raw)
            type_ = document.reading.type
            if type_ in known or document.data is None:
                continue
            structs = shapes.shapes(platform, event)[type_]
            known[type_] = EventType(
                type=type_,
                platform=platform.name,
                example=msgspec.Raw(document.data),
                json_schema=_schema(*structs),
            )
            if platform.announcement is not None:
                announcement = platform.announcement
                items = [ItemAllocation(line.id, "1", "example") for line in document.reading.lines]
                known[announcement.event_type] = EventType(
                    type=announcement.event_type,
                    platform=platform.name,
                    example=msgspec.Raw(announcement.split(raw, items)["1"]),
                    json_schema=_schema(announcement.payload),
                )
    return [*known.values()]


def _erasures() -> EventType:
    names = {"platform": "channelape", "account": "rothys", "type": "channelape.stock_transfer_order"}
    return EventType(
        type=erasure.TYPE,
        platform=None,
        example=msgspec.Raw(erasure.data(**names, key="STO4600000039", event_ids=[_EXAMPLE_ID])),
        json_schema=_schema(erasure.ErasedDocument),
    )


def _schema(*structs: shapes.Shape) -> dict[str, Any]:
    """Return the schema of a value of any of these shapes, which needs nothing else."""
    refs, definitions = msgspec.json.schema_components(structs, ref_template="#/$defs/{name}")
    schema = refs[0] if len(refs) == 1 else {"anyOf": list(refs)}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": dict(definitions)}
