"""/v1/events/{id}: a handler that returns one whole event, which an event without data names in `dataref`."""

from aiohttp import web

from ingress.api.auth import Caller
from ingress.api.context import Context, path_uuid
from ingress.api.errors import ProblemError, not_found
from schemas import cloudevents
from schemas.outbound import allowed_accounts
from schemas.patterns import fits
from storage import events
from storage.database import Connection


async def show(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: the CloudEvent, if the caller may see its account; 410 if its content was erased."""
    event = await events.get(connection, path_uuid(request))
    if event is None or not fits(
        f"{event.platform}/{event.account}", allowed_accounts(caller.subscriber, context.config)
    ):
        raise not_found()
    if event.is_erased:
        raise ProblemError(410, "The content of this event was erased.")
    return web.Response(
        body=_encode(event), content_type=cloudevents.CONTENT_TYPE, headers={"Cache-Control": "no-store"}
    )


def _encode(event: events.StoredEvent) -> bytes:
    return cloudevents.encode(
        id=str(event.id),
        platform=event.platform,
        account=event.account,
        type=event.type,
        key=event.key,
        received_at=event.received_at,
        version=event.version,
        traceparent=event.traceparent,
        data=events.data(event),
        raw=event.raw,
    )
