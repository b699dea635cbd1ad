"""The OpenAPI 3.1 document, made of the routes and of the Structs that they take and give."""

from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, get_args

import msgspec

from ingress.api import cursors
from ingress.api.idempotency import HEADER
from ingress.api.routes import V1, Route
from ingress.api.shapes import ProblemDetails, Status
from schemas import cloudevents, problems

PATH = "/v1/openapi.json"
_REF = "#/components/schemas/{name}"

_QUERY: dict[str, dict[str, Any]] = {
    "limit": {"schema": {"type": "integer", "minimum": 1, "maximum": cursors.MOST, "default": cursors.LIMIT}},
    "cursor": {"schema": {"type": "string"}, "description": "`next` of the page before"},
    "status": {"schema": {"type": "string", "enum": list(get_args(Status))}},
    "key": {"schema": {"type": "string", "maxLength": 512}, "description": "The business key"},
}
_KEY = {
    "name": HEADER,
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
    "description": "The same key and body get the same answer for a day",
}


@cache
def document() -> bytes:
    """As JSON."""
    shapes = [ProblemDetails, *(route.takes for route in V1 if route.takes)]
    shapes += [shape for route in V1 for shape in route.gives.values() if shape is not None]
    refs, components = msgspec.json.schema_components(shapes, ref_template=_REF)
    by_shape = dict(zip(map(repr, shapes), refs, strict=True))
    paths: dict[str, Any] = {}
    for route in V1:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_shape)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Crossdock",
                "version": version("crossdock"),
                "description": (
                    "Webhooks to subscribers. Lists go on by cursor; times are RFC 3339, errors RFC 9457. Replays, "
                    "tests and lists of deliveries run one at a time per subscriber. 429 and 503 say in Retry-After "
                    "when to ask again."
                ),
            },
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


def _operation(route: Route, refs: dict[str, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = []
    if "{id}" in route.path:
        parameters.append(
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
        )
    parameters += [{"name": name, "in": "query", **_QUERY[name]} for name in route.query]
    if route.idempotent:
        parameters.append(_KEY)
    responses: dict[str, Any] = {}
    for status, shape in route.gives.items():
        responses[str(status)] = {"description": HTTPStatus(status).phrase}
        if shape is not None:
            kind = cloudevents.CONTENT_TYPE if shape is cloudevents.CloudEvent else "application/json"
            responses[str(status)]["content"] = {kind: {"schema": refs[repr(shape)]}}
    for status in (401, 429, 503, *route.refuses):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {problems.CONTENT_TYPE: {"schema": refs[repr(ProblemDetails)]}},
        }
    made: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.serve.__module__.rpartition('.')[2]}_{route.serve.__name__}",
        "parameters": parameters,
        "responses": responses,
    }
    if route.takes is not None:
        made["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": refs[repr(route.takes)]}},
        }
    return made
