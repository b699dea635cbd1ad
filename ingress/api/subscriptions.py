"""/v1/subscriptions: registered, listed, changed, deleted; rotated, tested, replayed."""

from datetime import UTC, datetime

import msgspec
from aiohttp import web
from msgspec import UNSET

from ingress.api import cursors, patterns
from ingress.api.auth import Caller
from ingress.api.context import (
    Context,
    accounts,
    answer,
    body,
    fresh_secret,
    identity,
    new_id,
    require_dialect,
    rotated,
)
from ingress.api.errors import NOT_FOUND, ProblemError, invalid
from ingress.api.shapes import (
    Changes,
    Count,
    CreatedSubscription,
    DeliveryId,
    Missed,
    NewReplay,
    NewSubscription,
    Page,
    Replay,
    Secret,
)
from ingress.api.shapes import Subscription as Shown
from storage import deliveries, replays, subscriptions
from storage.database import Connection
from storage.replays import Scope
from storage.sealed import Sealed
from storage.sealed import Secret as SealedSecret
from storage.subscriptions import Subscription
from storage.vault import UndecryptableError

MOST_REPLAYS = 20
"""Replays of one subscriber that may be under way."""
QUERY_KEY = "token"
"""Of dialect channelape, where its subscriber names none."""


async def create(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """201, with the secret. In a transaction with its Idempotency-Key."""
    asked = await body(request, NewSubscription)
    one = require_dialect(asked.dialect)
    patterns.check_types(asked.types, one)
    _check_url(context, asked.url)
    secret = fresh_secret(one, asked.secret)
    _check_terms(one.uses_authorization, asked.authorization, one.uses_query_key, asked.query_key)
    granted = accounts(caller, asked.accounts)
    if asked.accounts is not None:
        patterns.check_accounts(asked.accounts)
    patterns.check_selection(asked.types, granted, one)
    await context.check_quota(connection, caller)
    id_ = new_id()
    secrets = Sealed(
        secrets=() if secret is None else (SealedSecret(secret=secret),), authorization=asked.authorization
    )
    made = await subscriptions.create(
        connection,
        Subscription(
            id=id_,
            subscriber=caller.subscriber,
            url=asked.url,
            types=asked.types,
            accounts=granted,
            dialect=one.name,
            query_key=asked.query_key or (QUERY_KEY if one.uses_query_key else None),
            schedule=asked.schedule,
            max_rate=asked.max_rate,
            max_in_flight=asked.max_in_flight,
            enabled=asked.enabled,
            sealed=context.seal(id_, secrets),
        ),
    )
    shown = _shown(context, made)
    said = CreatedSubscription(**msgspec.structs.asdict(shown), secret=secret)
    return answer(said, 201, {"Location": f"/v1/subscriptions/{id_}"})


async def listing(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: the oldest first."""
    count = cursors.limit(request.query.get("limit"))
    after = cursors.decode(request.query.get("cursor"))
    rows = await subscriptions.listing(connection, caller.owner, after=after, limit=count + 1)
    last = rows[count - 1] if len(rows) > count else None
    following = cursors.encode(last.created_at, last.id) if last is not None and last.created_at else None
    return answer(Page[Shown]([_shown(context, row) for row in rows[:count]], following))


async def show(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200."""
    return answer(_shown(context, await _found(connection, request, caller)))


async def change(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: as it is then. What waits goes by the new terms from its next attempt on."""
    asked = await body(request, Changes)
    old = await _found(connection, request, caller, lock=True)
    one = require_dialect(old.dialect)
    new = {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not UNSET}
    authorization = new.pop("authorization", UNSET)
    if "url" in new:
        _check_url(context, new["url"])
    if "types" in new:
        patterns.check_types(new["types"], one)
    if "accounts" in new:
        accounts(caller, new["accounts"])
        patterns.check_accounts(new["accounts"])
    if "types" in new or "accounts" in new:
        types, named = new.get("types", old.types), new.get("accounts", old.accounts)
        patterns.check_selection(types, named, one)
    _check_terms(
        one.uses_authorization,
        None if authorization is UNSET else authorization,
        one.uses_query_key,
        new.get("query_key"),
    )
    if new.get("enabled"):
        new["disabled_reason"] = None
    if authorization is not UNSET:
        try:
            secrets = context.unseal(old)
        except UndecryptableError:
            if one.make_secret is not None:
                raise  # its secret must be rotated first
            secrets = Sealed()
        new["sealed"] = context.seal(old.id, msgspec.structs.replace(secrets, authorization=authorization))
    return answer(_shown(context, await subscriptions.update(connection, msgspec.structs.replace(old, **new))))


async def delete(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """204; what waits for it is cancelled."""
    found = await _found(connection, request, caller, lock=True)
    await subscriptions.delete(connection, found.id)
    return web.Response(status=204, headers={"Cache-Control": "no-store"})


async def rotate(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200, with the new secret."""
    old = await _found(connection, request, caller, lock=True)
    one = require_dialect(old.dialect)
    if one.make_secret is None:
        raise ProblemError(409, f"Dialect {one.name} uses no secret.")
    secret = one.make_secret()
    try:
        secrets = context.unseal(old)
    except UndecryptableError:
        secrets = Sealed()  # what no key opens is lost; a new secret is the way out
    fresh = context.seal(old.id, rotated(one, secrets, secret))
    await subscriptions.update(connection, msgspec.structs.replace(old, sealed=fresh))
    return answer(Secret(secret))


async def test(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """202: the newest stored event that fits is sent."""
    found = await _found(connection, request, caller, share=True)
    if not found.enabled:
        raise ProblemError(409, "The subscription is disabled; enable it first.")
    name = await deliveries.test(connection, found.id, _scope(context, found))
    if name is None:
        raise ProblemError(409, "Nothing is stored yet that this subscription would get; send an event first.")
    return answer(DeliveryId(name), 202)


async def replay(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """202 `{"replay_id", "count"}`; 200 `{"count"}` for a dry run."""
    asked = await body(request, NewReplay)
    found = await _found(connection, request, caller)
    end = asked.end or datetime.now(UTC)
    if end <= asked.begin:
        raise invalid({"to": "must be after `from`"})
    scope = _scope(context, found)
    if asked.types is not None:
        narrow = replays.narrowed(scope.types, asked.types)
        if narrow is None:
            raise invalid({"types": f"are not within the subscription's: {', '.join(found.types)}"})
        patterns.check_types(narrow, require_dialect(found.dialect))
        scope = msgspec.structs.replace(scope, types=narrow)
    counted = await replays.count(connection, scope, begin=asked.begin, end=end, key=asked.key)
    if asked.dry_run:
        return answer(Count(counted.count, not counted.is_exact))
    # Only now, because a lease of the subscription waits while it is held.
    await _found(connection, request, caller, share=True)
    if not caller.operator and await replays.count_open(connection, caller.subscriber) >= MOST_REPLAYS:
        raise ProblemError(
            429,
            f"{MOST_REPLAYS} of your replays are still being sent; ask again when one of them has ended.",
            headers={"Retry-After": "60"},
        )
    name = await replays.ask(
        connection, found.id, types=scope.types, begin=asked.begin, end=end, key=asked.key, count=counted.count
    )
    return answer(Replay(name, counted.count, not counted.is_exact), 202)


def _scope(context: Context, one: Subscription) -> Scope:
    """What the store worker would decide for it now."""
    said = require_dialect(one.dialect).types
    allowed = context.allowed_accounts(one.subscriber)
    return Scope(list(one.types), list(one.accounts), allowed, None if said is None else sorted(said))


async def _found(
    connection: Connection, request: web.Request, caller: Caller, *, lock: bool = False, share: bool = False
) -> Subscription:
    found = await subscriptions.get(connection, identity(request), caller.owner, lock=lock, share=share)
    if found is None:
        raise ProblemError(404, NOT_FOUND)
    return found


def _check_url(context: Context, url: str) -> None:
    wrong = context.check_url(url)
    if wrong is not None:
        raise invalid({"url": wrong})


def _check_terms(uses_authorization: bool, authorization: str | None, uses_key: bool, key: str | None) -> None:
    errors = {}
    if authorization is not None and not uses_authorization:
        errors["authorization"] = "this dialect sends none"
    if authorization is not None and not (authorization.isascii() and authorization.isprintable()):
        errors["authorization"] = "must be printable ASCII, as it stands in a header"
    if key is not None and not uses_key:
        errors["query_key"] = "this dialect uses none"
    if errors:
        raise invalid(errors)


def _shown(context: Context, one: Subscription) -> Shown:
    assert one.created_at is not None
    assert one.updated_at is not None
    try:
        has_authorization = context.unseal(one).authorization is not None
    except UndecryptableError:
        has_authorization = None
    return Shown(
        id=one.id,
        url=one.url,
        types=list(one.types),
        accounts=list(one.accounts),
        dialect=one.dialect,
        query_key=one.query_key,
        schedule=None if one.schedule is None else list(one.schedule),
        max_rate=one.max_rate,
        max_in_flight=one.max_in_flight,
        enabled=one.enabled,
        disabled_reason=one.disabled_reason,
        disabled_at=None if one.enabled else one.disabled_at,
        missed=None if one.disabled_at is None else Missed(one.disabled_at, one.enabled_at),
        has_authorization=has_authorization,
        created_at=one.created_at,
        updated_at=one.updated_at,
    )
