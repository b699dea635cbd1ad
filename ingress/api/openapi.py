"""The OpenAPI 3.1 document, built from the routes and from the Structs of their bodies."""

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import get_args

import msgspec

from ingress.api import cursors, search
from ingress.api.idempotency import HEADER
from ingress.api.routes import V1, Route
from ingress.api.shapes import ProblemDetails, Status
from schemas import cloudevents, problems

JsonObject = dict[str, object]
Refs = Mapping[str, object]
"""Reference to the component of each shape, by the shape's `repr`."""

PATH = "/v1/openapi.json"
_REF = "#/components/schemas/{name}"

_QUERY: Mapping[str, JsonObject] = {
    "limit": {"schema": {"type": "integer", "minimum": 1, "maximum": cursors.MOST, "default": cursors.LIMIT}},
    "cursor": {"schema": {"type": "string"}, "description": "`next` of the previous page"},
    "status": {"schema": {"type": "string", "enum": list(get_args(Status))}},
    "key": {"schema": {"type": "string", "maxLength": 512}, "description": "The business key"},
    "q": {
        "schema": {"type": "string", "minLength": 1, "maxLength": search.MAX_LENGTH},
        "required": True,
        "description": "The number, article or id, compared exactly; blanks at its ends are ignored",
    },
}
_ID: JsonObject = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
_KEY: JsonObject = {
    "name": HEADER,
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
    "description": "For one day, requests with the same key and body get the same response",
}
_DESCRIPTION = (
    "Webhooks to subscribers. Lists are paged by cursor; times are RFC 3339, errors RFC 9457. Replays, tests and lists "
    "of deliveries run one at a time per subscriber. Responses 429 and 503 say in Retry-After when to try again."
)


@cache
def document() -> bytes:
    """Return the document as JSON."""
    shapes: list[type[msgspec.Struct]] = [ProblemDetails, *(route.takes for route in V1 if route.takes)]
    shapes += [shape for route in V1 for shape in route.gives.values() if shape is not None]
    schemas, components = msgspec.json.schema_components(shapes, ref_template=_REF)
    refs = dict(zip(map(repr, shapes), schemas, strict=True))
    paths: dict[str, JsonObject] = {}
    for route in V1:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Crossdock", "version": version("crossdock"), "description": _DESCRIPTION},
            "paths": paths,
            "security": [{"basic": []}, {"username": [], "password": []}, {"operator": []}],
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "basic": {"type": "http", "scheme": "basic"},
                    "username": {"type": "apiKey", "in": "header", "name": "Username"},
                    "password": {"type": "apiKey", "in": "header", "name": "Password"},
                    "operator": {"type": "http", "scheme": "bearer"},
                },
            },
        }
    )


def _operation(route: Route, refs: Refs) -> JsonObject:
    operation: JsonObject = {
        "summary": route.summary,
        "operationId": f"{route.serve.__module__.rpartition('.')[2]}_{route.serve.__name__}",
        "parameters": [
            *([_ID] if "{id}" in route.path else []),
            *({"name": name, "in": "query", **_QUERY[name]} for name in route.query or ()),
            *([_KEY] if route.idempotent else []),
        ],
        "responses": _responses(route, refs),
    }
    if route.takes is not None:
        operation["requestBody"] = {"required": True, "content": _content("application/json", route.takes, refs)}
    return operation


def _responses(route: Route, refs: Refs) -> JsonObject:
    responses: JsonObject = {}
    for status, shape in route.gives.items():
        content_type = cloudevents.CONTENT_TYPE if shape is cloudevents.CloudEvent else "application/json"
        responses[str(status)] = _response(status, content_type, shape, refs)
    for status in (400, 401, 429, 503, *route.refuses):
        responses[str(status)] = _response(status, problems.CONTENT_TYPE, ProblemDetails, refs)
    return responses


def _response(status: int, content_type: str, shape: type[msgspec.Struct] | None, refs: Refs) -> JsonObject:
    content = {} if shape is None else {"content": _content(content_type, shape, refs)}
    return {"description": HTTPStatus(status).phrase, **content}


def _content(content_type: str, shape: type[msgspec.Struct], refs: Refs) -> JsonObject:
    return {content_type: {"schema": refs[repr(shape)]}}
