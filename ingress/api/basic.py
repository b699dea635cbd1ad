"""/basic/webhooks: eComNow's registration API, as documented, so that a vendor's client works unchanged."""

from typing import Any

import asyncpg
import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ingress.api.auth import Caller
from ingress.api.context import Context, answer, body, identity, new_id
from ingress.api.errors import NOT_FOUND, Problem, invalid
from storage import subscriptions
from storage.sealed import Sealed
from storage.subscriptions import Subscription

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

TYPES = {
    "new_order": ["ecomnow.new_order", "apicbase.purchase_order"],
    "order_cancellation": ["ecomnow.order_cancellation"],
}
"""Apicbase's purchase orders are new orders to a vendor (contract §7)."""
MOST = 500
IN_FLIGHT = 10


class Webhook(msgspec.Struct, kw_only=True, rename="camel"):
    """The documented body; what else a client sends is let be."""

    url: str | None = None
    webhook_type: str | None = None
    authentication: str | UnsetType | None = UNSET


async def create(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200."""
    asked = await body(request, Webhook)
    _check(context, asked)
    assert asked.url is not None
    assert asked.webhook_type is not None
    id_ = new_id()
    secrets = Sealed(authorization=_said(asked.authentication))
    made = await subscriptions.create(
        connection,
        Subscription(
            id=id_,
            subscriber=caller.subscriber,
            url=asked.url,
            types=TYPES[asked.webhook_type],
            accounts=list(caller.accounts),
            dialect="ecomnow",
            webhook_type=asked.webhook_type,
            max_in_flight=IN_FLIGHT,
            sealed=context.seal(id_, secrets),
        ),
    )
    return answer(_shown(context, made))


async def listing(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: all of one's own. Not documented, and what one would try."""
    rows = await subscriptions.listing(connection, caller.owner, after=None, limit=MOST, basic=True)
    return answer([_shown(context, row) for row in rows])


async def show(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200."""
    return answer(_shown(context, await _found(connection, request, caller)))


async def change(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: PUT says all of it anew; an authentication that isn't there stays."""
    asked = await body(request, Webhook)
    _check(context, asked)
    assert asked.url is not None
    assert asked.webhook_type is not None
    old = await _found(connection, request, caller, lock=True)
    fresh = old.sealed
    if asked.authentication is not UNSET:
        fresh = context.seal(old.id, Sealed(authorization=_said(asked.authentication)))
    new = msgspec.structs.replace(
        old,
        url=asked.url,
        webhook_type=asked.webhook_type,
        types=TYPES[asked.webhook_type],
        sealed=fresh,
        enabled=True,
        disabled_reason=None,
    )
    return answer(_shown(context, await subscriptions.update(connection, new)))


async def delete(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200 `{"webhookId"}`."""
    found = await _found(connection, request, caller, lock=True)
    await subscriptions.delete(connection, found.id)
    return answer({"webhookId": str(found.id)})


async def _found(connection: Connection, request: web.Request, caller: Caller, *, lock: bool = False) -> Subscription:
    found = await subscriptions.get(connection, identity(request), caller.owner, lock=lock)
    if found is None or found.webhook_type is None:
        raise Problem(404, NOT_FOUND)
    return found


def _check(context: Context, asked: Webhook) -> None:
    errors = {}
    if not asked.url:
        errors["url"] = "this field is required"
    else:
        wrong = context.check_url(asked.url)
        if wrong is not None:
            errors["url"] = wrong
    if asked.webhook_type not in TYPES:
        errors["webhookType"] = f"must be {' or '.join(TYPES)}"
    said = _said(asked.authentication)
    if said is not None and not (said.isascii() and said.isprintable() and len(said) <= 4096):
        errors["authentication"] = "must be printable ASCII, as it stands in a header"
    if errors:
        raise invalid(errors)


def _said(authentication: str | UnsetType | None) -> str | None:
    return authentication if isinstance(authentication, str) and authentication else None


def _shown(context: Context, one: Subscription) -> dict[str, Any]:
    """Its owner may see what it registered."""
    return {
        "webhookId": str(one.id),
        "webhookType": one.webhook_type,
        "url": one.url,
        "method": "POST",
        "authentication": context.unseal(one).authorization,
        "vendorId": one.subscriber,
    }
