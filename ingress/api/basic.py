"""/basic/webhooks: eComNow's registration API, as documented, so that a vendor's client works unchanged."""

from typing import Any

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType
from yarl import URL

from ingress.api import cursors
from ingress.api.auth import Caller
from ingress.api.context import Context, answer, body, identity, new_id
from ingress.api.errors import NOT_FOUND, ProblemError, invalid
from storage import subscriptions
from storage.database import Connection
from storage.sealed import Sealed
from storage.subscriptions import Subscription
from storage.vault import UndecryptableError

TYPES = {
    "new_order": ["ecomnow.new_order", "apicbase.purchase_order"],
    "order_cancellation": ["ecomnow.order_cancellation"],
}
"""Apicbase's purchase orders are new orders to a vendor (contract §7)."""
PATH = "/basic/webhooks"
IN_FLIGHT = 10


class Webhook(msgspec.Struct, kw_only=True, rename="camel"):
    """The documented body; other fields that a client sends are ignored."""

    url: str | UnsetType | None = UNSET
    webhook_type: str | UnsetType | None = UNSET
    authentication: str | UnsetType | None = UNSET


async def create(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200."""
    asked = await body(request, Webhook, of_any_type=True)
    url, webhook_type = _checked(context, asked, None)
    await context.check_quota(connection, caller)
    id_ = new_id()
    secrets = Sealed(authorization=_said(asked.authentication))
    made = await subscriptions.create(
        connection,
        Subscription(
            id=id_,
            subscriber=caller.subscriber,
            url=url,
            types=TYPES[webhook_type],
            accounts=list(caller.accounts),
            dialect="ecomnow",
            webhook_type=webhook_type,
            max_in_flight=IN_FLIGHT,
            sealed=context.seal(id_, secrets),
        ),
    )
    return answer(_shown(context, made, caller))


async def listing(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: one's own, the oldest first; where there are more, a `BrokerConnection` header leads to the next page.

    Not documented by eComNow, and what a client would try.
    """
    count = cursors.limit(request.query.get("limit", str(cursors.MOST)))
    after = cursors.decode(request.query.get("cursor"))
    rows = await subscriptions.listing(connection, caller.owner, after=after, limit=count + 1, basic=True)
    headers = {}
    last = rows[count - 1] if len(rows) > count else None
    if last is not None and last.created_at is not None:
        following = URL(PATH).with_query(limit=str(count), cursor=cursors.encode(last.created_at, last.id))
        headers["BrokerConnection"] = f'<{following}>; rel="next"'
    return answer([_shown(context, row, caller) for row in rows[:count]], headers=headers)


async def show(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200."""
    return answer(_shown(context, await _found(connection, request, caller), caller))


async def change(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: what PUT leaves out stays; `"authentication": null` removes it. A webhook that was disabled is enabled."""
    asked = await body(request, Webhook, of_any_type=True)
    old = await _found(connection, request, caller, lock=True)
    url, webhook_type = _checked(context, asked, old)
    fresh = old.sealed
    if asked.authentication is not UNSET:
        fresh = context.seal(old.id, Sealed(authorization=_said(asked.authentication)))
    new = msgspec.structs.replace(
        old,
        url=url,
        webhook_type=webhook_type,
        types=TYPES[webhook_type],
        sealed=fresh,
        enabled=True,
        disabled_reason=None,
    )
    return answer(_shown(context, await subscriptions.update(connection, new), caller))


async def delete(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200 `{"webhookId"}`."""
    found = await _found(connection, request, caller, lock=True)
    await subscriptions.delete(connection, found.id)
    return answer({"webhookId": str(found.id)})


async def _found(connection: Connection, request: web.Request, caller: Caller, *, lock: bool = False) -> Subscription:
    found = await subscriptions.get(connection, identity(request), caller.owner, lock=lock)
    if found is None or found.webhook_type is None:
        raise ProblemError(404, NOT_FOUND)
    return found


def _checked(context: Context, asked: Webhook, old: Subscription | None) -> tuple[str, str]:
    """URL and type, those of `old` where the request leaves them out. Raises ProblemError: 400."""
    errors = {}
    url = _said(asked.url) or (old.url if old is not None else None)
    if not url:
        errors["url"] = "this field is required"
    elif _said(asked.url):
        wrong = context.check_url(url)
        if wrong is not None:
            errors["url"] = wrong
    webhook_type = _said(asked.webhook_type) or (old.webhook_type if old is not None else None)
    if webhook_type not in TYPES:
        errors["webhookType"] = f"must be {' or '.join(TYPES)}"
    said = _said(asked.authentication)
    if said is not None and not (said.isascii() and said.isprintable() and len(said) <= 4096):
        errors["authentication"] = "must be printable ASCII, as it stands in a header"
    if errors or not url or not webhook_type:
        raise invalid(errors)
    return url, webhook_type


def _said(text: str | UnsetType | None) -> str | None:
    return text if isinstance(text, str) and text else None


def _shown(context: Context, one: Subscription, caller: Caller) -> dict[str, Any]:
    """Its owner may see what it registered. Nobody else sees `authentication`, the operator included."""
    shown: dict[str, Any] = {
        "webhookId": str(one.id),
        "webhookType": one.webhook_type,
        "url": one.url,
        "method": "POST",
    }
    if caller.subscriber == one.subscriber:
        try:
            shown["authentication"] = context.unseal(one).authorization
        except UndecryptableError:
            # One that no key opens must not hide the others. A PUT with `authentication` sets it anew.
            shown["authentication"] = None
            shown["message"] = "Its authentication cannot be read any more; set it again."
    return {**shown, "vendorId": one.subscriber}
