"""/basic/webhooks: eComNow's registration API, as documented, so that a vendor's client works unchanged."""

from uuid import uuid4

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType
from yarl import URL

from ingress.api import cursors
from ingress.api.auth import Caller
from ingress.api.context import Context, body, check_authorization, json_response, path_uuid
from ingress.api.errors import invalid, not_found
from schemas.dialects import ecomnow
from storage import subscriptions
from storage.database import Connection
from storage.sealed import Sealed
from storage.subscriptions import Subscription
from storage.vault import UndecryptableError

TYPES = {
    "new_order": [ecomnow.NEW_ORDER, *ecomnow.PURCHASE_ORDERS],
    "order_cancellation": [ecomnow.CANCELLATION],
}
"""Event types by `webhookType`; purchase orders are new orders to a vendor (contract §7)."""
PATH = "/basic/webhooks"
IN_FLIGHT = 10
"""Maximum number of concurrent deliveries to one webhook."""


class Webhook(msgspec.Struct, kw_only=True, rename="camel"):
    """The documented request body; other fields that a client sends are ignored."""

    url: str | UnsetType | None = UNSET
    webhook_type: str | UnsetType | None = UNSET
    authentication: str | UnsetType | None = UNSET


class ShownWebhook(msgspec.Struct, kw_only=True, rename="camel"):
    """The documented response body."""

    webhook_id: str
    webhook_type: str | None
    url: str
    method: str = "POST"
    authentication: str | UnsetType | None = UNSET
    """Shown to the owner of the webhook only."""
    message: str | UnsetType = UNSET
    vendor_id: str


async def create(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: the new webhook."""
    webhook = await body(request, Webhook, of_any_type=True)
    url, webhook_type = _validated(context, webhook, None)
    await context.check_quota(connection, caller)
    id_ = uuid4()
    secrets = Sealed(authorization=_text(webhook.authentication))
    created = await subscriptions.create(
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
    return json_response(_view(context, created, caller))


async def listing(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: the caller's webhooks, the oldest first; if there are more, a `Link` header leads to the next page.

    eComNow doesn't document this request, but a client may try it.
    """
    size = cursors.limit(request.query.get("limit", str(cursors.MOST)))
    after = cursors.decode(request.query.get("cursor"))
    rows = await subscriptions.listing(connection, caller.owner, after=after, limit=size + 1, basic=True)
    page, cursor = cursors.page(rows, size, cursors.subscription_place)
    headers = {}
    if cursor is not None:
        headers["Link"] = f'<{URL(PATH).with_query(limit=str(size), cursor=cursor)}>; rel="next"'
    return json_response([_view(context, row, caller) for row in page], headers=headers)


async def show(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: one webhook of the caller."""
    return json_response(_view(context, await _get(connection, request, caller), caller))


async def change(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: what PUT omits is unchanged; `"authentication": null` removes it. A disabled webhook is enabled."""
    webhook = await body(request, Webhook, of_any_type=True)
    old = await _get(connection, request, caller, lock=True)
    url, webhook_type = _validated(context, webhook, old)
    fresh = old.sealed
    if webhook.authentication is not UNSET:
        fresh = context.seal(old.id, Sealed(authorization=_text(webhook.authentication)))
    new = msgspec.structs.replace(
        old,
        url=url,
        webhook_type=webhook_type,
        types=TYPES[webhook_type],
        sealed=fresh,
        enabled=True,
        disabled_reason=None,
    )
    return json_response(_view(context, await subscriptions.update(connection, new), caller))


async def delete(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200 with the body `{"webhookId"}`."""
    webhook = await _get(connection, request, caller, lock=True)
    await subscriptions.delete(connection, webhook.id)
    return json_response({"webhookId": str(webhook.id)})


async def _get(connection: Connection, request: web.Request, caller: Caller, *, lock: bool = False) -> Subscription:
    """Return the webhook that the path names. Raises ProblemError: 404."""
    subscription = await subscriptions.get(connection, path_uuid(request), caller.owner, lock=lock)
    if subscription is None or subscription.webhook_type is None:
        raise not_found()
    return subscription


def _validated(context: Context, webhook: Webhook, old: Subscription | None) -> tuple[str, str]:
    """Return URL and type, those of `old` where the request omits them. Raises ProblemError: 400."""
    errors = {}
    url = _text(webhook.url) or (old.url if old is not None else None)
    if not url:
        errors["url"] = "this field is required"
    elif _text(webhook.url) and (problem := context.check_url(url)) is not None:
        errors["url"] = problem
    webhook_type = _text(webhook.webhook_type) or (old.webhook_type if old is not None else None)
    if webhook_type not in TYPES:
        errors["webhookType"] = f"must be {' or '.join(TYPES)}"
    authentication = _text(webhook.authentication)
    if (problem := check_authorization(authentication)) is not None:
        errors["authentication"] = problem
    elif len(authentication or "") > 4096:
        errors["authentication"] = "must have at most 4096 characters"
    if errors or not url or not webhook_type:
        raise invalid(errors)
    return url, webhook_type


def _text(value: str | UnsetType | None) -> str | None:
    return value if isinstance(value, str) and value else None


def _view(context: Context, subscription: Subscription, caller: Caller) -> ShownWebhook:
    """Return the response body; only the owner sees `authentication`, not even the operator does."""
    view = ShownWebhook(
        webhook_id=str(subscription.id),
        webhook_type=subscription.webhook_type,
        url=subscription.url,
        vendor_id=subscription.subscriber,
    )
    if caller.subscriber == subscription.subscriber:
        try:
            view.authentication = context.unseal(subscription).authorization
        except UndecryptableError:
            # A webhook that no key decrypts must not hide the others. A PUT with `authentication` sets it anew.
            view.authentication = None
            view.message = "Its authentication cannot be read any more; set it again."
    return view
