"""/v1/…/deliveries: handlers that list, show, retry and cancel deliveries."""

from collections.abc import Mapping
from typing import get_args

import msgspec
from aiohttp import web

from ingress.api import cursors
from ingress.api.auth import Caller
from ingress.api.context import Context, json_response, path_uuid
from ingress.api.errors import ProblemError, invalid, not_found
from ingress.api.shapes import Attempt, Delivery, DeliveryWithAttempts, Page, Status
from schemas.lenient import normalized
from schemas.values import value_problem
from storage import deliveries, subscriptions
from storage.database import Connection

STATUSES: tuple[str, ...] = get_args(Status)


async def listing(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: a subscription's deliveries, the newest first; `status` and `key` filter them."""
    id_ = path_uuid(request)
    if await subscriptions.get(connection, id_, caller.owner) is None:
        raise not_found()
    status = request.query.get("status")
    if status is not None and status not in STATUSES:
        raise invalid({"status": f"must be one of {', '.join(STATUSES)}"})
    key = request.query.get("key")
    if key is not None and (len(key) > 512 or value_problem(key) is not None or not normalized(key)):
        raise invalid({"key": "is not a business key"})
    size = cursors.limit(request.query.get("limit"))
    before = cursors.decode(request.query.get("cursor"))
    rows = await deliveries.listing(
        connection, subscriber=caller.owner, subscription=id_, status=status, key=key, before=before, limit=size + 1
    )
    page, following = cursors.page(rows, size, lambda row: (row["created_at"], row["id"]))
    return json_response(Page([msgspec.convert(row, Delivery) for row in page], following))


async def show(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: the delivery with every attempt."""
    id_ = path_uuid(request)
    delivery = _existing(await deliveries.get(connection, id_, caller.owner))
    history = msgspec.convert(await deliveries.attempts(connection, id_), list[Attempt])
    return json_response(DeliveryWithAttempts(**msgspec.structs.asdict(delivery), history=history))


async def retry(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: due now, whatever its status was. 409 if it may not be sent to its subscriber any more."""
    try:
        row = await deliveries.retry(connection, path_uuid(request), caller.owner, may_send=context.may_send)
    except deliveries.RefusedError as error:
        raise ProblemError(409, f"This delivery cannot be sent again: {error}.") from None
    return json_response(_existing(row))


async def cancel(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: it is not sent any more. A delivery that has ended keeps its status."""
    return json_response(_existing(await deliveries.cancel(connection, path_uuid(request), caller.owner)))


def _existing(row: Mapping[str, object] | None) -> Delivery:
    if row is None:
        raise not_found()
    return msgspec.convert(row, Delivery)
