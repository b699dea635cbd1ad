"""/v1/event-types: a handler that lists what there is to subscribe to."""

import msgspec
from aiohttp import web

from ingress.api.auth import Caller
from ingress.api.context import Context, json_response
from schemas import catalogue
from schemas.catalogue import EventType
from storage.database import Connection


class EventTypes(msgspec.Struct, frozen=True):
    """All types of events, sorted."""

    data: list[EventType]


async def listing(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: every type with its JSON Schema and an example."""
    return json_response(EventTypes([*catalogue.event_types()]))
