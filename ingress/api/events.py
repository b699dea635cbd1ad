"""/v1/events/{id}: one event, whole, for its `dataref`."""

from aiohttp import web

from ingress.api.auth import Caller
from ingress.api.context import Context, identity
from ingress.api.errors import NOT_FOUND, ProblemError
from schemas import cloudevents, documents, registry
from schemas.patterns import fits
from schemas.platform import UnreadableError
from storage import events
from storage.database import Connection


async def show(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: the CloudEvent, if it is of an account that the caller may see."""
    found = await events.get(connection, identity(request))
    if found is None or not fits(f"{found.platform}/{found.account}", context.allowed_accounts(caller.subscriber)):
        raise ProblemError(404, NOT_FOUND)
    return web.Response(
        body=_encode(found), content_type=cloudevents.CONTENT_TYPE, headers={"Cache-Control": "no-store"}
    )


def _encode(found: events.StoredEvent) -> bytes:
    try:
        platform = registry.platforms()[found.platform]
        data = documents.describe(platform, found.event, found.raw, found.content_type).data
    except (KeyError, UnreadableError):  # of a version that read it otherwise
        data = None
    return cloudevents.encode(
        id=str(found.id),
        platform=found.platform,
        account=found.account,
        type=found.type,
        key=found.key,
        received_at=found.received_at,
        version=found.version,
        traceparent=found.traceparent,
        data=data,
        raw=found.raw,
    )
