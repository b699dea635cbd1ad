"""Every route of the API. The router and the OpenAPI document are built from this table."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import web

from ingress.api import basic, catalogue, deliveries, events, search, shapes, subscriptions
from ingress.api.auth import Caller
from ingress.api.catalogue import EventTypes
from ingress.api.context import Context
from ingress.api.shapes import Page
from schemas import cloudevents
from storage.database import Connection
from storage.find import FindResult

Handler = Callable[[Context, Connection, web.Request, Caller], Awaitable[web.Response]]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path. Each request runs in a transaction of its own."""

    method: str
    path: str
    serve: Handler
    summary: str
    takes: type[msgspec.Struct] | None = None
    """Shape of the request body; None if it has none."""
    gives: Mapping[int, type[msgspec.Struct] | None]
    """Shape of the response body by status; None if it has none."""
    refuses: tuple[int, ...] = ()
    """Statuses of error responses, besides 400, 401, 429 and 503."""
    query: tuple[str, ...] | None = ()
    """Names of the query parameters; any other is refused. None: any other is ignored."""
    idempotent: bool = False
    """Whether it accepts an Idempotency-Key."""
    expensive: bool = False
    """May read many rows: one request at a time per subscriber, on separate connections and with its own timeout."""


PAGE = ("limit", "cursor")
BODY = (400, 413, 415)
SUBSCRIPTION = "/v1/subscriptions/{id}"

V1 = (
    Route(
        method="POST",
        path="/v1/subscriptions",
        serve=subscriptions.create,
        summary="Register a URL",
        takes=shapes.NewSubscription,
        gives={201: shapes.CreatedSubscription},
        refuses=(*BODY, 409, 422),
        idempotent=True,
    ),
    Route(
        method="GET",
        path="/v1/subscriptions",
        serve=subscriptions.listing,
        summary="Your subscriptions, the oldest first",
        gives={200: Page[shapes.Subscription]},
        refuses=(400,),
        query=PAGE,
    ),
    Route(
        method="GET",
        path=SUBSCRIPTION,
        serve=subscriptions.show,
        summary="One subscription",
        gives={200: shapes.Subscription},
        refuses=(404,),
    ),
    Route(
        method="PATCH",
        path=SUBSCRIPTION,
        serve=subscriptions.change,
        summary="Change a subscription; enabling it clears the reason why it was disabled",
        takes=shapes.Changes,
        gives={200: shapes.Subscription},
        refuses=(*BODY, 404),
    ),
    Route(
        method="DELETE",
        path=SUBSCRIPTION,
        serve=subscriptions.delete,
        summary="Delete a subscription; its waiting deliveries are cancelled",
        gives={204: None},
        refuses=(404,),
    ),
    Route(
        method="POST",
        path=f"{SUBSCRIPTION}/rotate-secret",
        serve=subscriptions.rotate,
        summary="Create a new secret; in dialect standard the old one stays valid for 24 hours",
        gives={200: shapes.Secret},
        refuses=(400, 404, 409, 413, 422),
        idempotent=True,
    ),
    Route(
        method="POST",
        path=f"{SUBSCRIPTION}/test",
        serve=subscriptions.test,
        expensive=True,
        summary="Send the newest stored event that matches",
        gives={202: shapes.DeliveryId},
        refuses=(400, 404, 409, 413, 422),
        idempotent=True,
    ),
    Route(
        method="POST",
        path=f"{SUBSCRIPTION}/match",
        serve=subscriptions.match,
        expensive=True,
        summary="Whether an event matches a subscription, and which condition decided",
        takes=shapes.EventId,
        gives={200: shapes.Match},
        refuses=(*BODY, 404, 410),
    ),
    Route(
        method="POST",
        path=f"{SUBSCRIPTION}/replay",
        serve=subscriptions.replay,
        expensive=True,
        summary="Send the events of a period again; 200 and only the count for a dry run",
        takes=shapes.NewReplay,
        gives={202: shapes.Replay, 200: shapes.Count},
        refuses=(*BODY, 404, 409, 422),
        idempotent=True,
    ),
    Route(
        method="GET",
        path=f"{SUBSCRIPTION}/deliveries",
        serve=deliveries.listing,
        expensive=True,
        summary="A subscription's deliveries, the newest first",
        gives={200: Page[shapes.Delivery]},
        refuses=(400, 404),
        query=(*PAGE, "status", "key"),
    ),
    Route(
        method="GET",
        path="/v1/events/{id}",
        serve=events.show,
        summary="One whole event; `dataref` of an event without data is this URL",
        gives={200: cloudevents.CloudEvent},
        refuses=(404, 410),
    ),
    Route(
        method="GET",
        path="/v1/event-types",
        serve=catalogue.listing,
        summary="Every event type with the JSON Schema of its data and an example",
        gives={200: EventTypes},
    ),
    Route(
        method="GET",
        path="/v1/find",
        serve=search.find,
        expensive=True,
        summary="Everything that has a text as its number, article or id; for the operator",
        gives={200: FindResult},
        refuses=(400, 403),
        query=("q",),
    ),
    Route(
        method="GET",
        path="/v1/deliveries/{id}",
        serve=deliveries.show,
        summary="One delivery, with every attempt",
        gives={200: shapes.DeliveryWithAttempts},
        refuses=(404,),
    ),
    Route(
        method="POST",
        path="/v1/deliveries/{id}/retry",
        serve=deliveries.retry,
        summary="Send a delivery again now",
        gives={200: shapes.Delivery},
        refuses=(404, 409),
    ),
    Route(
        method="POST",
        path="/v1/deliveries/{id}/cancel",
        serve=deliveries.cancel,
        summary="Stop sending a delivery",
        gives={200: shapes.Delivery},
        refuses=(404,),
    ),
)

BASIC = (
    ("POST", "/basic/webhooks", basic.create),
    ("GET", "/basic/webhooks", basic.listing),
    ("GET", "/basic/webhooks/{id}", basic.show),
    ("PUT", "/basic/webhooks/{id}", basic.change),
    ("DELETE", "/basic/webhooks/{id}", basic.delete),
)
