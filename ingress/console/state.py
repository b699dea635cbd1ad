"""One sentence that says where a document stands: what was received, who got it, and what comes next. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from ingress.console.render import duration, plural
from schemas import erasure
from storage.document import NEWEST, DocumentRow, History, SentAttempt, SentDelivery
from storage.progress import LINES, LineProgress, quantity

TIMES = ("never", "once", "twice")
SHOWN = 2
"""Number of subscriptions without the newest version that the sentence describes."""
OVERDUE = 60.0
"""Seconds after which an attempt that is due is late."""
ANSWER = 120
"""Number of characters that a row shows of an answer."""
DOTS = 40
"""Number of attempts that a row shows, the newest."""


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription with its deliveries of one type of event, the newest first."""

    type: str
    latest: SentDelivery
    earlier: Sequence[SentDelivery]
    attempts: Sequence[SentAttempt]
    """The newest attempts of all its deliveries, the oldest first."""
    last_error: str | None
    """Why the last attempt failed; None if it did not."""

    @property
    def name(self) -> str:
        """The subscriber, or where the subscription sends to."""
        return self.latest.subscriber or self.latest.url or "a deleted subscription"


def recipients(deliveries: Sequence[SentDelivery], hide: Callable[[str], str] = str) -> list[Recipient]:
    """Return the subscriptions of these deliveries, which begin with the newest, in the order in which they began.

    `hide`: removes personal data from an error.
    """
    groups: dict[tuple[str, str], list[SentDelivery]] = {}
    for delivery in deliveries:
        groups.setdefault((str(delivery.subscription_id), delivery.type), []).append(delivery)
    return [
        Recipient(
            type=group[0].type,
            latest=group[0],
            earlier=group[1:],
            attempts=sorted(
                (attempt for delivery in group for attempt in delivery.attempts), key=lambda attempt: attempt.at
            )[-DOTS:],
            last_error=_last_error(group[0], hide),
        )
        for group in reversed(groups.values())
    ]


def _last_error(delivery: SentDelivery, hide: Callable[[str], str]) -> str | None:
    last = delivery.attempts[-1] if delivery.attempts else None
    return None if last is None or last.outcome == "delivered" else hide(explained(last))


def explained(attempt: SentAttempt) -> str:
    """Return the answer and the error of an attempt in words."""
    parts = [str(attempt.status_code)] if attempt.status_code else []
    text = ": ".join([*parts, attempt.error or attempt.outcome])
    return f"{text}, with the answer: {attempt.answer[:ANSWER]}" if attempt.answer else text


def sentence(
    document: DocumentRow,
    past: History,
    sent: Sequence[Recipient],
    now: datetime,
    transfer: Sequence[LineProgress] = (),
) -> str:
    """Return the state of a document in words. `transfer`: the lines of the transfer that it belongs to."""
    return " ".join(filter(None, (_transfer(document, transfer, now), _exchange(document, past, sent, now))))


def _transfer(document: DocumentRow, lines: Sequence[LineProgress], now: datetime) -> str:
    """Return how far a transfer is, what is missing, and how late it is; nothing if not all of its lines are known."""
    if not lines or len(lines) > LINES:
        return ""
    whose = "" if document.order_ref in (None, document.key) else "its transfer is "
    late = None if document.late_since is None else f"{duration((now - document.late_since).total_seconds())} late"
    text = ", ".join(filter(None, (late, f"{whose}{_progress(lines)}")))
    return f"{text[:1].upper()}{text[1:]}."


def _progress(lines: Sequence[LineProgress]) -> str:
    ordered = None if any(line.ordered is None for line in lines) else sum(line.ordered or 0 for line in lines)
    received, damaged = sum(line.received for line in lines), sum(line.damaged for line in lines)
    moving = [max(line.shipped, line.announced) for line in lines]
    moved = sum(moving)
    short = sum(
        max(sent - line.received, Decimal(0)) for line, sent in zip(lines, moving, strict=True) if line.received > 0
    )
    unsent = sum(
        max((line.ordered or Decimal(0)) - max(sent, line.received), Decimal(0))
        for line, sent in zip(lines, moving, strict=True)
    )
    missing = [f"{quantity(short)} missing"] if short else []
    missing += [f"{quantity(unsent)} not shipped yet"] if unsent else []
    missing += [f"{quantity(damaged)} damaged"] if damaged else []
    if not received and not moved:
        return f"nothing shipped yet: {_ordered(ordered)} ordered"
    if not received:
        verb = "shipped" if any(line.shipped > 0 for line in lines) else "announced"
        return ", ".join([f"on its way: {quantity(moved)} of {_ordered(ordered)} {verb}", *missing])
    word = "partly" if short or unsent else "completely"
    return ", ".join([f"{word} received: {quantity(received)} of {_ordered(ordered)}", *missing])


def _ordered(quantity_ordered: Decimal | int | None) -> str:
    return "an unknown quantity" if quantity_ordered is None else quantity(quantity_ordered)


def _exchange(document: DocumentRow, past: History, sent: Sequence[Recipient], now: datetime) -> str:
    """Return what was received, and who got it."""
    received = sum(version.times_received for version in past.versions)
    at_least = "at least " if len(past.versions) >= NEWEST else ""
    parts = [f"Received {at_least}{times(received)}", plural(document.version, "version")]
    text = f"{', '.join(parts)}. {_deliveries([row for row in sent if row.type != erasure.TYPE], now)}"
    if document.is_being_erased:
        return f"{text} Its content is being erased: a store worker does it within seconds."
    return f"{text} Its content was erased." if document.erased else text


def times(count: int) -> str:
    """Return a number of times, such as `once` or `3 times`."""
    return TIMES[count] if count < len(TIMES) else f"{count:,} times"


def _deliveries(sent: Sequence[Recipient], now: datetime) -> str:
    if not sent:
        return "No subscription receives it."
    waiting = [row for row in sent if row.latest.status != "delivered"]
    whole = plural(len(sent), "subscriber")
    if not waiting:
        return f"Delivered to {'its only subscriber' if len(sent) == 1 else f'all {whole}'}."
    head = f"Delivered to {len(sent) - len(waiting) or 'none'} of {whole}"
    if len(sent) == 1:
        head = "Not delivered yet" if waiting[0].latest.status == "pending" else "Not delivered"
    clauses = [f"{row.name} {_state(row.latest, now)}" for row in waiting[:SHOWN]]
    if len(waiting) > SHOWN:
        clauses.append(f"{len(waiting) - SHOWN:,} more are listed below")
    return f"{head}; {'; '.join(clauses)}."


def _state(delivery: SentDelivery, now: datetime) -> str:
    """Return what became of a delivery that did not succeed, without its subject."""
    count = times(delivery.times_attempted)
    last = delivery.attempts[-1].outcome if delivery.attempts else ""
    verb = "refused it" if last == "refused" else "could not be reached" if last else ""
    past = f"{verb} {count}" if verb else ""
    if delivery.status == "pending":
        return f"{past or 'waits for its first attempt'}{_next(delivery, now)}"
    if delivery.status == "failed":
        return f"{past or 'failed'}, and is not tried again"
    if delivery.status == "superseded":
        return "was not sent it, because a newer version came first"
    return "was not sent it, because the delivery was cancelled"


def _next(delivery: SentDelivery, now: datetime) -> str:
    """Return when the next attempt is due, or why it is not."""
    if not delivery.is_enabled:
        return f", and is disabled{f' ({delivery.disabled_reason})' if delivery.disabled_reason else ''}"
    due = delivery.next_attempt_at
    if delivery.paused_until is not None and delivery.paused_until > now:
        due = max(due or now, delivery.paused_until)
    seconds = 0.0 if due is None else (due - now).total_seconds()
    if seconds < -OVERDUE:
        return f", due for {duration(-seconds)}"
    return f", next try in {duration(seconds)}" if seconds >= 1 else ", next try now"
