"""Sending deliveries again, and cancelling them: one at once, several or all that match after a confirmation."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import get_args
from uuid import UUID

from aiohttp import web

from ingress import outbound
from ingress.console import many, notices
from ingress.console.confirm import Button
from ingress.console.delivery_words import isolated, short, subscriber
from ingress.console.errors import PageError, invalid, not_found
from ingress.console.many import Request
from ingress.console.render import plural
from ingress.console.route import act
from ingress.console.visit import Page, Visit, see_other
from storage import bulk, deliveries, subscriptions
from storage.bulk import Counted
from storage.deliveries import Selection, Status
from storage.jobs import Filter

LIST = "/console/deliveries"
RETRY, CANCEL = f"{LIST}/retry", f"{LIST}/cancel"
LONGEST_URL = 200
"""Characters of a URL that a confirmation shows."""
STATUSES: tuple[Status, ...] = get_args(Status)

notices.NOTICES |= {
    "retried": "It is due now, and sent again in a moment.",
    "cancelled": "It was cancelled, and is not sent any more.",
    "ended_before": "It had ended already, so nothing was changed.",
}


async def retry(visit: Visit) -> Page | web.StreamResponse:
    """Send one delivery or several again."""
    if visit.field("all") != "1":
        if not (ids := many.ticked(visit)):
            return many.nothing_ticked(visit, LIST)
        return await (_retry_one(visit, ids[0]) if len(ids) == 1 else _many(visit, RETRY, ids))
    return await _many(visit, RETRY, None)


async def cancel(visit: Visit) -> Page | web.StreamResponse:
    """Cancel deliveries that wait."""
    if visit.field("all") != "1":
        if not (ids := many.ticked(visit)):
            return many.nothing_ticked(visit, LIST)
        return await (_cancel_one(visit, ids[0]) if len(ids) == 1 else _many(visit, CANCEL, ids))
    return await _many(visit, CANCEL, None)


async def _retry_one(visit: Visit, id_: UUID) -> Page | web.StreamResponse:
    may_send = partial(outbound.may_send, visit.context.config)
    try:
        delivery = await deliveries.retry(visit.connection, id_, None, may_send=may_send)
    except deliveries.RefusedError as error:
        await visit.record("deliveries.retry", subject=str(id_), note=str(error), outcome="failed")
        return many.error_page(409, "This delivery cannot be sent again", f"The reason: {error}.")
    if delivery is None:
        raise not_found(f"delivery {id_}")
    await visit.record("deliveries.retry", subject=str(id_), count=1)
    return see_other(notices.done(many.back(visit, f"{LIST}/{id_}"), "retried"))


async def _cancel_one(visit: Visit, id_: UUID) -> Page | web.StreamResponse:
    back = many.back(visit, f"{LIST}/{id_}")
    if not await bulk.cancel(visit.connection, [id_]):
        if await deliveries.get(visit.connection, id_, None) is None:
            raise not_found(f"delivery {id_}")
        return see_other(notices.done(back, "ended_before"))
    await visit.record("deliveries.cancel", subject=str(id_), count=1)
    return see_other(notices.done(back, "cancelled"))


async def _many(visit: Visit, path: str, ids: list[UUID] | None) -> Page | web.StreamResponse:
    """Act on the ticked deliveries, or on all that the filter in the form selects."""
    if (response := await many.started_before(visit)) is not None:
        return response
    fields: list[tuple[str, str]]
    if ids is not None:
        counted = Counted(count=len(ids), is_exact=True)
        filter_, fields, words = Filter(ids=ids), [("id", str(id_)) for id_ in ids], "the deliveries that are ticked"
    else:
        selection = await _selection(visit, path)
        counted = await bulk.count(visit.connection, selection)
        filter_, fields, words = Filter(deliveries=selection), _fields(selection), selection.in_words()
    number = counted.text if not counted.is_exact else plural(counted.count, "delivery", "deliveries")
    number = number if counted.is_exact else f"{number} deliveries"
    is_retry = path == RETRY
    whose, state = await _receiver(visit, filter_.deliveries)
    shown = words if whose is None else words.replace(*whose)
    request = Request(
        kind="deliveries.retry" if is_retry else "deliveries.cancel",
        path=path,
        question=f"Send {number} again?" if is_retry else f"Cancel {number}?",
        what=f"{number[0].upper()}{number[1:]}: {shown}.{state if is_retry else ''}",
        consequence=_consequence(is_retry=is_retry),
        filter=filter_,
        fields=fields,
        count=counted.count,
        is_exact=counted.is_exact,
        subject=words if ids is None else f"{len(ids)} ticked deliveries",
        buttons=_buttons(number, is_retry=is_retry, is_of_one=ids is None and counted.is_of_one and counted.count > 1),
        back=many.back(visit, LIST),
    )
    return await many.confirm_or_start(visit, request)


async def _selection(visit: Visit, path: str) -> Selection:
    """Return the filter in the form, frozen at its `until`, or now. Raises PageError: 400."""
    status = visit.field("status")
    if path == CANCEL:
        if status not in (None, "pending"):
            raise PageError(400, "Only pending deliveries can be cancelled", "Choose the status `pending` first.")
        status = "pending"
    chosen = next((known for known in STATUSES if known == status), None)
    if chosen is None:
        raise invalid("Choose a status first: all that match are sent again for one status only.")
    now = await bulk.now(visit.connection)
    until = visit.field_time("until")
    return Selection(
        status=chosen,
        subscription=visit.field_uuid("subscription"),
        type=visit.field("type"),
        account=visit.field("account"),
        key=visit.field("key"),
        since=visit.field_time("since"),
        until=now if until is None else min(now, until),
    )


def _fields(selection: Selection) -> list[tuple[str, str]]:
    """Return the hidden fields from which the same filter is read again."""
    values = {name: getattr(selection, name) for name in Selection.__struct_fields__}
    texts = {
        name: value.isoformat() if isinstance(value, datetime) else str(value)
        for name, value in values.items()
        if value is not None
    }
    return [("all", "1"), *texts.items()]


async def _receiver(visit: Visit, selection: Selection | None) -> tuple[tuple[str, str] | None, str]:
    """Return the words for the selected subscription with what people know it by, and what keeps it from being sent to.

    Both are empty if no subscription is selected, or if it does not exist any more.
    """
    if selection is None or selection.subscription is None:
        return None, ""
    subscription = await subscriptions.get(visit.connection, selection.subscription, None)
    if subscription is None:
        return None, ""
    url = short(subscription.url.partition("?")[0], LONGEST_URL)
    whose = f"to {subscriber(subscription.subscriber)} at {isolated(url)}"
    state = "" if subscription.enabled else " The subscription is disabled: nothing is sent until it is enabled."
    return (f"of subscription {subscription.id}", whose), state


def _consequence(*, is_retry: bool) -> str:
    if not is_retry:
        return "They are not sent any more. Those that end meanwhile keep their status."
    return (
        "They are sent again as they are stored, at the rate of their subscriptions. What begins to match from now on "
        "is not among them. You can stop it on the page Actions."
    )


def _buttons(number: str, *, is_retry: bool, is_of_one: bool) -> Sequence[Button]:
    if not is_retry:
        return (Button(label=f"Cancel {number}"),)
    if is_of_one:
        return (
            Button(label="Try the next one first", name="how", value="first"),
            Button(label=f"Send {number} at once", name="how", value="all", is_quiet=True),
        )
    return (Button(label=f"Send {number} again"),)


ROUTES = (
    act(RETRY, retry, "deliveries.retry"),
    act(CANCEL, cancel, "deliveries.cancel"),
)
