"""Deliveries in words: their status, their newest error, and what a status means. Pure."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

from ingress.console.render import duration, plural
from storage.deliveries import Status
from storage.delivery_lists import Document, LastAttempt, ListedDelivery

GONE = 410
"""Status with which a server says that nothing is to be sent to it any more."""
TOO_MANY = 429
"""Status with which a server says that it gets too much."""
SERVER_ERROR = 500
"""The lowest status that says that the server does not work."""
LONGEST_PAUSE = 300.0
"""Maximum seconds between two tries of a server that does not work (`workers.deliver.breaker`)."""
LONGEST_ERROR = 160
"""Characters of an error in a list."""
LONGEST_ANSWER = 220
"""Characters of an answer in the state of a subscription."""
KINDS: dict[str, str] = {
    "pending": "busy",
    "retrying": "warn",
    "delivered": "good",
    "failed": "bad",
    "cancelled": "off",
    "superseded": "neutral",
}
"""The shape of each status, as `macros.status` takes it."""
STATUSES: Sequence[tuple[Status, str]] = (
    ("pending", "Waiting"),
    ("failed", "Failed"),
    ("delivered", "Delivered"),
    ("cancelled", "Cancelled"),
    ("superseded", "Superseded"),
)
"""Each status with its name in the navigation of the list."""
_MEANINGS = {
    "pending": "It waits for its first attempt.",
    "retrying": "It was attempted, and is attempted again at the time of its next try.",
    "delivered": "The subscriber's server has accepted it.",
    "cancelled": (
        "It is not sent any more: an operator or the subscriber cancelled it, its subscription was deleted, its replay "
        "was stopped, or its subscriber may not see the account any more. It can be sent again."
    ),
    "superseded": (
        "A newer version of the same document was stored before this delivery succeeded, and is delivered in its place."
    ),
}


def word(status: str, attempts: int) -> str:
    """Return the status as it is shown: a pending delivery that was attempted is `retrying`."""
    return "retrying" if status == "pending" and attempts else status


def kind(status: str, attempts: int) -> str:
    """Return the shape of a status."""
    return KINDS[word(status, attempts)]


def meaning(delivery: ListedDelivery) -> str:
    """Return what the status of a delivery means, in a sentence or two."""
    if delivery.row["status"] == "failed":
        return f"{_why_failed(delivery)} It is sent again only if somebody asks for it."
    return _MEANINGS[word(delivery.row["status"], delivery.row["attempts"])]


def _why_failed(delivery: ListedDelivery) -> str:
    """Return why a delivery is not attempted any more, from its newest attempt."""
    last, attempts = delivery.last, delivery.row["attempts"]
    if last is not None and last.outcome == "blocked" and last.error:
        return f"It could not be sent: {isolated(short(last.error))}."
    if last is not None and last.status_code == GONE:
        return (
            "The subscriber's server answered 410 Gone, which ends the delivery and disables the subscription: nothing "
            "is to be sent to this URL any more."
        )
    if attempts == 1:
        return "Its only attempt failed, and the schedule of the subscription has no other."
    return f"All {attempts} attempts of the schedule failed."


def schedule(seconds: Sequence[float], repeat_seconds: float | None = None) -> str:
    """Return when a delivery is attempted, such as `at once, then after 5 s, 5 min and 30 min`.

    `seconds`: before each attempt, counted from the previous one. `repeat_seconds`: between attempts that are repeated
    without end, for which `seconds` do not apply; None if they are not.
    """
    if repeat_seconds is not None:
        return f"at once, then every {duration(repeat_seconds)} until it succeeds or is cancelled"
    first, *others = seconds or (0.0,)
    text = "at once" if first < 1 else f"after {duration(first)}"
    if others:
        waits = [duration(wait) for wait in others]
        text += f", then after {', '.join(waits[:-1])}{' and ' if len(waits) > 1 else ''}{waits[-1]}"
    return f"{text}: {'one attempt' if not others else f'{len(others) + 1} attempts'} in all"


def trouble(
    last: LastAttempt | None, since: datetime | None, next_attempt_at: datetime | None, now: datetime
) -> str | None:
    """Return what is wrong with a subscription that is enabled, from its newest attempt; None if nothing is.

    `since`: from when on nothing was delivered to it.
    """
    if last is None or last.outcome == "delivered":
        return None
    when = ""
    if next_attempt_at is not None:
        seconds = (next_attempt_at - now).total_seconds()
        when = f" The next try is in {duration(seconds)}." if seconds > 0 else " The next try is due."
    begun = "" if since is None else f", since {since:%Y-%m-%d %H:%M:%S} UTC"
    answer = f"its server answers {answered(last)}" if last.status_code else f"attempts end with: {error(last)}"
    return f"Enabled, but {isolated(short(answer, LONGEST_ANSWER))}{begun}.{when}"


def newest_answer(last: LastAttempt | None) -> str:
    """Return what the server answered last if it took nothing, as a sentence with a blank before it; else nothing."""
    if last is None or last.outcome == "delivered" or last.status_code is None:
        return ""
    return f" Its newest answer, at {last.at:%Y-%m-%d %H:%M:%S} UTC: {isolated(short(answered(last), LONGEST_ANSWER))}."


def why_due(
    *, enabled: bool, is_configured: bool, paused_until: datetime | None, last: LastAttempt | None, now: datetime
) -> str | None:
    """Return why a delivery that is due is not sent at this moment, as a sentence; None if that is not known.

    `last`: the newest attempt for its subscription. The deliver worker alone knows when it tries a server again that
    does not work, but never leaves more than LONGEST_PAUSE between two tries.
    """
    if not enabled:
        return "It waits, because the subscription is disabled."
    if not is_configured:
        return "It waits, because the configuration has no such subscriber any more."
    if paused_until is not None and paused_until > now:
        until = f"{paused_until:%H:%M:%S} UTC"
        return f"It waits, because the subscriber's server asked for a pause; the next delivery is tried at {until}."
    if last is None or last.outcome in ("delivered", "blocked"):
        return None
    if last.status_code is not None and last.status_code != TOO_MANY and last.status_code < SERVER_ERROR:
        return None  # the server works, and does not take this or that
    what = f"answered {last.status_code}" if last.status_code else f"could not be reached ({last.outcome})"
    seconds = max((now - last.at).total_seconds(), 0.0)
    return (
        f"It waits, because the subscriber's server {what} {duration(seconds)} ago: one delivery at a time is tried, "
        f"at least every {duration(LONGEST_PAUSE)}, and the others follow when one has arrived."
    )


def error(last: LastAttempt | None) -> str:
    """Return what was wrong with the newest attempt, in one line; empty if nothing was."""
    if last is None or last.outcome == "delivered":
        return ""
    status = "" if last.status_code is None else f" with status {last.status_code}"
    # `answered 500` says no more than the status does; the answer may.
    is_status = last.error == f"answered {last.status_code}"
    detail = " ".join(((last.response if is_status else last.error) or last.response).split())
    return f"{last.outcome}{status}" + (f": {detail}" if detail else "")


def answered(last: LastAttempt) -> str:
    """Return the status and the beginning of an answer, in one line: `500: down for repairs`."""
    text = " ".join((last.response or "").split())
    return f"{last.status_code}: {text}" if text else f"{last.status_code}"


def short(text: str, longest: int = LONGEST_ERROR) -> str:
    """Return the text, cut if it is too long."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def isolated(text: str) -> str:
    """Return a text from outside whose marks of direction do not reach what follows it (Unicode's annex 9)."""
    return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}"


def subscriber(name: str | None) -> str:
    """Return the name of a subscriber; the operator's own subscriptions have none."""
    return "(unknown)" if name is None else name or "(operator)"


def document_path(document: Document | None) -> str | None:
    """Return where the document is shown, or None if it is not stored any more."""
    if document is None:
        return None
    fields = {name: getattr(document, name) for name in ("platform", "account", "type", "key")}
    return f"/console/documents?{urlencode(fields)}"


def subscription_state(
    *,
    enabled: bool,
    disabled_at: datetime | None,
    disabled_reason: str | None,
    paused_until: datetime | None,
    now: datetime,
    is_configured: bool,
) -> tuple[str, str, str]:
    """Return the state of a subscription: a word, its shape, and a sentence."""
    if not enabled:
        since = "" if disabled_at is None else f" since {disabled_at:%Y-%m-%d %H:%M} UTC"
        reason = f": {isolated(disabled_reason)}" if disabled_reason else ", without a reason"
        return "disabled", "bad", f"Nothing is sent{since}{reason}. What waits is kept until it is enabled again."
    if not is_configured:
        return (
            "unknown subscriber",
            "bad",
            "Nothing is sent, because the configuration has no such subscriber any more.",
        )
    if paused_until is not None and paused_until > now:
        until = f"{paused_until:%Y-%m-%d %H:%M:%S} UTC"
        return "paused", "warn", f"The subscriber's server asked for a pause, so that nothing is sent until {until}."
    return "enabled", "good", "Deliveries are sent."


def attempts_text(status: str, attempts: int) -> str:
    """Return how often a delivery was attempted."""
    return "not attempted" if not attempts else plural(attempts, "attempt")
