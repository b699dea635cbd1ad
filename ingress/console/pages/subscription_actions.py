"""What operators do with a subscription: enable, disable, limit and test it, and rotate its secret."""

from uuid import UUID

import msgspec
from aiohttp import web

from ingress import outbound
from ingress.console import confirm, notices
from ingress.console import delivery_words as words
from ingress.console.confirm import Button, Confirmation
from ingress.console.errors import PageError, not_found
from ingress.console.links import type_words
from ingress.console.pages.subscriptions import PATH, page_of
from ingress.console.route import act
from ingress.console.visit import Page, Visit, see_other
from schemas.dialects import get_dialect
from storage import subscriptions
from storage.deliveries import NewestEvent
from storage.subscriptions import Subscription

LONGEST_REASON = 200
"""Characters of the reason for which a subscription is disabled."""
notices.NOTICES |= {
    "enabled": "The subscription is enabled. What waits for it is sent now.",
    "disabled": "The subscription is disabled. What waits for it is kept.",
    "limited": "The limits are changed, and hold from now on.",
    "tested": "A test is on its way: this delivery sends the newest event that the subscription receives.",
}


class SecretView(msgspec.Struct, frozen=True, kw_only=True):
    """A new secret, which is shown once."""

    id: UUID
    subscriber: str
    secret: str
    two_secrets: bool
    """Whether the old one still signs for 24 hours."""


async def enable(visit: Visit) -> Page | web.StreamResponse:
    """Enable a subscription, so that what waits is sent."""
    old = await _locked(visit)
    await subscriptions.update(visit.connection, msgspec.structs.replace(old, enabled=True, disabled_reason=None))
    await visit.record("subscriptions.enable", subject=str(old.id))
    return see_other(notices.done(f"{PATH}/{old.id}", "enabled"))


async def disable(visit: Visit) -> Page | web.StreamResponse:
    """Disable a subscription, for a reason that its subscriber sees."""
    old = await _locked(visit)
    reason = (visit.field("reason") or "disabled by an operator")[:LONGEST_REASON]
    await subscriptions.update(visit.connection, msgspec.structs.replace(old, enabled=False, disabled_reason=reason))
    await visit.record("subscriptions.disable", subject=str(old.id), note=reason)
    return see_other(notices.done(f"{PATH}/{old.id}", "disabled"))


async def limit(visit: Visit) -> Page | web.StreamResponse:
    """Change how fast a subscription is sent to."""
    old = await _locked(visit)
    try:
        rate = outbound.parse_rate(visit.field("max_rate"))
        in_flight = outbound.parse_in_flight(visit.field("max_in_flight"))
    except ValueError as error:
        return await page_of(visit, str(error), visit.entered("max_rate", "max_in_flight"))
    await subscriptions.update(visit.connection, msgspec.structs.replace(old, max_rate=rate, max_in_flight=in_flight))
    note = f"max_rate {'none' if rate is None else f'{rate:g}'}, max_in_flight {in_flight}"
    await visit.record("subscriptions.limit", subject=str(old.id), note=note)
    return see_other(notices.done(f"{PATH}/{old.id}", "limited"))


async def test(visit: Visit) -> Page | web.StreamResponse:
    """Ask, and then send the newest event that a subscription receives to it."""
    subscription = await _shared(visit)
    try:
        if visit.field("confirmed") != "1":
            event = await outbound.test_event(visit.connection, visit.context.config, subscription)
            return confirm.page(_test_question(subscription, event))
        delivery = await outbound.send_test(visit.connection, visit.context.config, subscription)
    except outbound.ConflictError as error:
        raise PageError(409, "No test was sent", str(error)) from None
    await visit.record("subscriptions.test", subject=str(subscription.id), note=visit.field("note"))
    return see_other(notices.done(f"/console/deliveries/{delivery}", "tested"))


def _test_question(subscription: Subscription, event: NewestEvent) -> Confirmation:
    back = f"{PATH}/{subscription.id}"
    return Confirmation(
        question="Send this event once more?",
        what=(
            f"{type_words(event.type).capitalize()} {words.isolated(words.short(event.key, 80))}, version "
            f"{event.version}, received {event.received_at:%Y-%m-%d %H:%M:%S} UTC, goes to "
            f"{words.subscriber(subscription.subscriber)} at {words.short(subscription.url.partition('?')[0], 200)}."
        ),
        consequence=(
            "It is a real event, sent as any other: the subscriber gets it again if it had it before. No other "
            "subscription gets it. If a newer one comes in meanwhile, that one is sent."
        ),
        action=f"{back}/test",
        fields=(("confirmed", "1"),),
        buttons=(Button(label="Send it"),),
        back=back,
    )


async def rotate(visit: Visit) -> Page | web.StreamResponse:
    """Ask, and then replace the secret of a subscription and show the new one, once and on this page only."""
    old = await _locked(visit)
    state = old.updated_at.isoformat() if old.updated_at else ""
    if visit.field("state") != state:
        return confirm.page(
            Confirmation(
                question=f"Give the subscription of {words.subscriber(old.subscriber)} a new secret?",
                what=f"It sends to {old.url.partition('?')[0]}. The new secret is shown once, on the next page.",
                consequence=(
                    "With dialect standard the old secret signs as well for 24 hours. With every other dialect the new "
                    "one is used at once: the subscriber rejects what it receives until it knows the new one."
                ),
                action=f"{PATH}/{old.id}/rotate",
                fields=(("state", state),),
                buttons=(Button(label="Make a new secret"),),
                takes_note=False,
                back=f"{PATH}/{old.id}",
            )
        )
    try:
        secret = await outbound.rotate(visit.connection, visit.context.vault, old)
    except outbound.ConflictError as error:
        raise PageError(409, "The secret was not changed", str(error)) from None
    await visit.record("subscriptions.rotate", subject=str(old.id))
    view = SecretView(
        id=old.id,
        subscriber=words.subscriber(old.subscriber),
        secret=secret,
        two_secrets=get_dialect(old.dialect).two_secrets,
    )
    return Page(template="secret.html", view=view, title="The new secret")


async def _locked(visit: Visit) -> Subscription:
    """Return the subscription of the path, locked to be changed. Raises PageError: 404."""
    id_ = visit.path_uuid("subscription")
    subscription = await subscriptions.get(visit.connection, id_, None, lock=True)
    if subscription is None:
        raise not_found(f"subscription {id_}")
    return subscription


async def _shared(visit: Visit) -> Subscription:
    """Return the subscription of the path, which does not change until the action ends. Raises PageError: 404."""
    id_ = visit.path_uuid("subscription")
    subscription = await subscriptions.get(visit.connection, id_, None, share=True)
    if subscription is None:
        raise not_found(f"subscription {id_}")
    return subscription


ROUTES = (
    act(f"{PATH}/{{id}}/enable", enable, "subscriptions.enable"),
    act(f"{PATH}/{{id}}/disable", disable, "subscriptions.disable"),
    act(f"{PATH}/{{id}}/limits", limit, "subscriptions.limit"),
    act(f"{PATH}/{{id}}/test", test, "subscriptions.test"),
    act(f"{PATH}/{{id}}/rotate", rotate, "subscriptions.rotate"),
)
