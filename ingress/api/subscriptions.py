"""/v1/subscriptions: handlers that register, list, change, delete, rotate, test and replay subscriptions."""

from datetime import UTC, datetime
from uuid import uuid4

import msgspec
from aiohttp import web
from msgspec import UNSET

from ingress import outbound
from ingress.api import cursors, patterns
from ingress.api.auth import Caller
from ingress.api.context import (
    Context,
    body,
    check_accounts_allowed,
    check_authorization,
    fresh_secret,
    json_response,
    path_uuid,
    require_dialect,
)
from ingress.api.errors import ProblemError, invalid, not_found, retry_later
from ingress.api.shapes import (
    NO_FILTER,
    Changes,
    Count,
    CreatedSubscription,
    DeliveryId,
    EventId,
    Missed,
    NewReplay,
    NewSubscription,
    Page,
    Replay,
    Secret,
)
from ingress.api.shapes import Subscription as SubscriptionView
from schemas import filters
from schemas.filters import FilterError
from schemas.lenient import normalized
from schemas.outbound import Dialect
from schemas.patterns import fits
from storage import events, replays, subscriptions
from storage.database import Connection
from storage.sealed import Sealed
from storage.sealed import Secret as SealedSecret
from storage.subscriptions import Subscription
from storage.vault import UndecryptableError

MAX_OPEN_REPLAYS = 20
"""Maximum number of unfinished replays per subscriber."""
QUERY_KEY = "token"
"""Query key of dialect channelape if the subscriber gives none."""


async def create(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """201: the subscription with its secret. In one transaction with its Idempotency-Key."""
    new = await body(request, NewSubscription)
    dialect = require_dialect(new.dialect)
    patterns.check_types(new.types, dialect)
    _check_url(context, new.url)
    secret = fresh_secret(dialect, new.secret)
    _check_credentials(dialect, new.authorization, new.query_key)
    granted = check_accounts_allowed(caller, new.accounts)
    if new.accounts is not None:
        patterns.check_accounts(new.accounts)
    patterns.check_selection(new.types, granted, dialect)
    filter_ = _filter_of(new.filter)
    _check_payload(dialect, new.payload)
    await context.check_quota(connection, caller)
    id_ = uuid4()
    sealed_secrets = () if secret is None else (SealedSecret(secret=secret),)
    secrets = Sealed(secrets=sealed_secrets, authorization=new.authorization)
    created = await subscriptions.create(
        connection,
        Subscription(
            id=id_,
            subscriber=caller.subscriber,
            url=new.url,
            types=new.types,
            accounts=granted,
            dialect=dialect.name,
            query_key=new.query_key or (QUERY_KEY if dialect.uses_query_key else None),
            schedule=new.schedule,
            max_rate=new.max_rate,
            max_in_flight=new.max_in_flight,
            enabled=new.enabled,
            filter=filter_,
            payload=new.payload,
            sealed=context.seal(id_, secrets),
        ),
    )
    view = CreatedSubscription(**msgspec.structs.asdict(_view(context, created)), secret=secret)
    return json_response(view, 201, {"Location": f"/v1/subscriptions/{id_}"})


async def listing(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: the caller's subscriptions, the oldest first."""
    size = cursors.limit(request.query.get("limit"))
    after = cursors.decode(request.query.get("cursor"))
    rows = await subscriptions.listing(connection, caller.owner, after=after, limit=size + 1)
    page, following = cursors.page(rows, size, cursors.subscription_place)
    return json_response(Page([_view(context, row) for row in page], following))


async def show(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: one subscription of the caller."""
    return json_response(_view(context, await _get(connection, request, caller)))


async def change(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: the changed subscription. Waiting deliveries use the new settings from their next attempt on."""
    changes = await body(request, Changes)
    old = await _get(connection, request, caller, lock=True)
    dialect = require_dialect(old.dialect)
    new = {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
    authorization = new.pop("authorization", UNSET)
    if "url" in new:
        _check_url(context, new["url"])
    if "types" in new:
        patterns.check_types(new["types"], dialect)
    if "accounts" in new:
        check_accounts_allowed(caller, new["accounts"])
        patterns.check_accounts(new["accounts"])
    if "types" in new or "accounts" in new:
        patterns.check_selection(new.get("types", old.types), new.get("accounts", old.accounts), dialect)
    _check_credentials(dialect, None if authorization is UNSET else authorization, new.get("query_key"))
    if "filter" in new:
        new["filter"] = _filter_of(new["filter"])
    if "payload" in new:
        _check_payload(dialect, new["payload"])
    if new.get("enabled"):
        new["disabled_reason"] = None
    if authorization is not UNSET:
        try:
            secrets = context.unseal(old)
        except UndecryptableError:
            if dialect.make_secret is not None:
                raise  # its secret must be rotated first
            secrets = Sealed()
        new["sealed"] = context.seal(old.id, msgspec.structs.replace(secrets, authorization=authorization))
    return json_response(_view(context, await subscriptions.update(connection, msgspec.structs.replace(old, **new))))


async def delete(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """204; its waiting deliveries are cancelled."""
    subscription = await _get(connection, request, caller, lock=True)
    await subscriptions.delete(connection, subscription.id)
    return web.Response(status=204, headers={"Cache-Control": "no-store"})


async def rotate(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: the new secret."""
    old = await _get(connection, request, caller, lock=True)
    try:
        secret = await outbound.rotate(connection, context.vault, old)
    except outbound.ConflictError as error:
        raise ProblemError(409, str(error)) from None
    return json_response(Secret(secret))


async def test(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """202: the newest stored event that matches is sent."""
    subscription = await _get(connection, request, caller, share=True)
    try:
        delivery_id = await outbound.send_test(connection, context.config, subscription)
    except outbound.ConflictError as error:
        raise ProblemError(409, str(error)) from None
    return json_response(DeliveryId(delivery_id), 202)


async def match(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: whether an event matches, and the condition that decided if it does not."""
    named = await body(request, EventId)
    subscription = await _get(connection, request, caller)
    event = await events.get(connection, named.event_id)
    account = "" if event is None else f"{event.platform}/{event.account}"
    scope = outbound.scope_of(context.config, subscription)
    if event is None or not fits(account, scope.allowed):
        raise ProblemError(404, "There is no such event, or it is not yours.")
    if event.is_erased:
        raise ProblemError(410, "The content of this event was erased.")
    return json_response(outbound.match(scope, event))


async def replay(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """202 `{"replay_id", "count"}`; 200 `{"count"}` for a dry run."""
    new = await body(request, NewReplay)
    subscription = await _get(connection, request, caller)
    end = new.end or datetime.now(UTC)
    if end <= new.begin:
        raise invalid({"to": "must be after `from`"})
    if new.key is not None and not normalized(new.key):
        raise invalid({"key": "is not a business key"})
    scope = outbound.scope_of(context.config, subscription)
    if new.types is not None:
        types = replays.narrowed(scope.types, new.types)
        if types is None:
            raise invalid({"types": f"are not within the subscription's: {', '.join(subscription.types)}"})
        patterns.check_types(types, require_dialect(subscription.dialect))
        scope = msgspec.structs.replace(scope, types=types)
    counted = await replays.count(connection, scope, begin=new.begin, end=end, key=new.key)
    if new.dry_run:
        return json_response(Count(counted.count, not counted.is_exact))
    # The row is locked this late because the deliver workers cannot lease the subscription while it is locked.
    await _get(connection, request, caller, share=True)
    if not caller.operator and await replays.count_open(connection, caller.subscriber) >= MAX_OPEN_REPLAYS:
        detail = f"{MAX_OPEN_REPLAYS} of your replays are still being sent; ask again when one of them has ended."
        raise retry_later(429, detail, seconds=60)
    replay_id = await replays.create(
        connection, subscription.id, types=scope.types, begin=new.begin, end=end, key=new.key, count=counted.count
    )
    return json_response(Replay(replay_id, counted.count, not counted.is_exact), 202)


async def _get(
    connection: Connection, request: web.Request, caller: Caller, *, lock: bool = False, share: bool = False
) -> Subscription:
    """Return the subscription that the path names. Raises ProblemError: 404."""
    subscription = await subscriptions.get(connection, path_uuid(request), caller.owner, lock=lock, share=share)
    if subscription is None:
        raise not_found()
    return subscription


def _filter_of(written: msgspec.Raw) -> str | None:
    """Return the JSON of a filter; None for null. Raises ProblemError (400) with the place of what is wrong."""
    if written == NO_FILTER:
        return None
    try:
        filters.from_json(bytes(written))
    except FilterError as error:
        raise invalid({f"filter.{error.path}" if error.path else "filter": error.problem}) from None
    return bytes(written).decode()


def _check_payload(dialect: Dialect, payload: str) -> None:
    """Raise ProblemError (400) if the dialect cannot leave out the data."""
    if payload == "thin" and not dialect.can_be_thin:
        raise invalid({"payload": f"dialect {dialect.name} has no place for a reference; only standard has"})


def _check_url(context: Context, url: str) -> None:
    problem = context.check_url(url)
    if problem is not None:
        raise invalid({"url": problem})


def _check_credentials(dialect: Dialect, authorization: str | None, query_key: str | None) -> None:
    """Raise ProblemError (400) if the dialect does not use what is given, or cannot send it."""
    errors = {}
    if authorization is not None and not dialect.uses_authorization:
        errors["authorization"] = "this dialect sends none"
    if (problem := check_authorization(authorization)) is not None:
        errors["authorization"] = problem
    if query_key is not None and not dialect.uses_query_key:
        errors["query_key"] = "this dialect uses none"
    if errors:
        raise invalid(errors)


def _view(context: Context, subscription: Subscription) -> SubscriptionView:
    assert subscription.created_at is not None
    assert subscription.updated_at is not None
    try:
        has_authorization = context.unseal(subscription).authorization is not None
    except UndecryptableError:
        has_authorization = None
    return SubscriptionView(
        id=subscription.id,
        url=subscription.url,
        types=list(subscription.types),
        accounts=list(subscription.accounts),
        dialect=subscription.dialect,
        query_key=subscription.query_key,
        schedule=None if subscription.schedule is None else list(subscription.schedule),
        max_rate=subscription.max_rate,
        max_in_flight=subscription.max_in_flight,
        filter=None if subscription.filter is None else msgspec.Raw(subscription.filter.encode()),
        payload=subscription.payload,  # type: ignore[arg-type]  # one of the literals
        enabled=subscription.enabled,
        disabled_reason=subscription.disabled_reason,
        disabled_at=None if subscription.enabled else subscription.disabled_at,
        missed=None if subscription.disabled_at is None else Missed(subscription.disabled_at, subscription.enabled_at),
        has_authorization=has_authorization,
        created_at=subscription.created_at,
        updated_at=subscription.updated_at,
    )
