"""/v1/…/deliveries: seen, tried again, cancelled."""

from typing import Any, get_args

import msgspec
from aiohttp import web

from ingress.api import cursors, values
from ingress.api.auth import Caller
from ingress.api.context import Context, answer, identity
from ingress.api.errors import NOT_FOUND, ProblemError, invalid
from ingress.api.shapes import Attempt, Delivery, DeliveryWithAttempts, Page, Status
from storage import deliveries, subscriptions
from storage.database import Connection

STATUSES = get_args(Status)


async def listing(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: a subscription's, the newest first; `status` and `key` narrow it."""
    id_ = identity(request)
    if await subscriptions.get(connection, id_, caller.owner) is None:
        raise ProblemError(404, NOT_FOUND)
    status = request.query.get("status")
    if status is not None and status not in STATUSES:
        raise invalid({"status": f"must be one of {', '.join(STATUSES)}"})
    key = request.query.get("key")
    if key is not None and (len(key) > 512 or values.wrong(key) is not None):
        raise invalid({"key": "is not a business key"})
    count = cursors.limit(request.query.get("limit"))
    before = cursors.decode(request.query.get("cursor"))
    rows = await deliveries.listing(
        connection, subscriber=caller.owner, subscription=id_, status=status, key=key, before=before, limit=count + 1
    )
    last = rows[count - 1] if len(rows) > count else None
    following = None if last is None else cursors.encode(last["created_at"], last["id"])
    return answer(Page[Delivery]([Delivery(**row) for row in rows[:count]], following))


async def show(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200, with every attempt."""
    found = await deliveries.get(connection, identity(request), caller.owner)
    history = await deliveries.attempts(connection, identity(request))
    return answer(DeliveryWithAttempts(**_there(found), history=[msgspec.convert(one, Attempt) for one in history]))


async def retry(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: due now, whatever became of it. 409 if it may not be sent to its subscriber any more."""
    try:
        found = await deliveries.retry(connection, identity(request), caller.owner, may_send=context.may_send)
    except deliveries.RefusedError as refused:
        raise ProblemError(409, f"This delivery cannot be sent again: {refused}.") from None
    return answer(Delivery(**_there(found)))


async def cancel(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: sent no more; what has ended stays as it is."""
    return answer(Delivery(**_there(await deliveries.cancel(connection, identity(request), caller.owner))))


def _there(found: dict[str, Any] | None) -> dict[str, Any]:
    if found is None:
        raise ProblemError(404, NOT_FOUND)
    return found
