"""A sentence about what needs somebody, with what to do: the most useful sentences of docs/runbook.md, word for word.

A test compares them with the runbook, which is not installed with the console.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

ADVICE: Mapping[str, str] = {
    "CrossdockNotReady": (
        "`crossdock check` tries both with the same settings and says how to fix them. The process recovers "
        "by itself when the server is back; restarting it does not help."
    ),
    "CrossdockQueueUnattended": (
        "Messages wait and nothing consumes them: the workers are not running, or cannot connect. `crossdock "
        "status` shows queues and consumers. Start `crossdock worker store` or `route`; look at the worker's "
        '`/readyz`, and for "broker connection lost" in its log.'
    ),
    "CrossdockBehind": (
        "The oldest message has waited for more than a minute. Either the database delays the workers "
        '(`/readyz` reports "held up", and `crossdock_stage_seconds{stage="write"}` grows: look at '
        "PostgreSQL's locks, disk and connections), or messages arrive faster than they are stored: add store "
        "workers, which share the queue."
    ),
    "CrossdockDeliveriesLate": (
        "Deliveries are due and not sent, although no circuit breaker, rate limit or `Retry-After` of their "
        "subscriber delays them. If `crossdock_deliveries_in_flight` is high, subscribers answer slowly: "
        "raise `max_in_flight` of the slowest (`crossdock deliveries list` shows whose deliveries wait). "
        "Otherwise add deliver workers."
    ),
    "CrossdockConsumerBehind": (
        "A consumer of `crossdock.events` is down or too slow. Tell its owner. Beyond its limits, the oldest "
        "events are dropped from its queue, and it has to catch up from the log with `crossdock consume "
        "--from`."
    ),
    "CrossdockDead": (
        "The store worker empties `crossdock.dead` and `crossdock.unrouted` within seconds while the database "
        "is available. If messages stay there, no store worker is running, or it is held up (see "
        "CrossdockHeldUp). Then look at the quarantine. In `crossdock.consumer.<name>.dead` are messages that "
        "this consumer rejected, and its owner has to look at them; after a fix, `crossdock consumers retry "
        "<name>` moves them back to its queue."
    ),
    "CrossdockQuarantined": (
        "Authentic messages cannot be read, or were refused. `crossdock quarantine list` shows them, `show "
        "ID` the reason and the bytes. After a fix, use `crossdock quarantine replay ID`; use `discard` for "
        "messages that are not needed."
    ),
    "CrossdockQuarantineWaits": (
        "A message has waited in quarantine for more than a day. The label `stage` gives the reason: "
        "`unreadable` (no worker can read it), `refused` (a rule refused it), `failed` (a worker failed on it "
        "repeatedly), `unrouted` (no queue accepted it)."
    ),
    "CrossdockDeliveriesFailed": (
        "A subscriber refused deliveries, or was unavailable, for the whole schedule. `crossdock deliveries "
        "list --status failed` lists them, `show ID` shows the answers. When the subscriber is available "
        "again, use `crossdock deliveries retry ID`, `crossdock deliveries retry --all --status failed "
        "--subscription ID`, or `crossdock replay` for a period."
    ),
    "CrossdockBreakerOpen": (
        "A subscriber does not answer, or answers 429 or 5xx, and is tried again at least every five minutes. "
        "Tell its owner. Nothing is lost: waiting deliveries are sent when it answers again."
    ),
    "CrossdockSubscriptionDisabled": (
        "A subscriber answered 410, which means that it wants no more webhooks. If that was a mistake, enable "
        "the subscription (PATCH `enabled`), then replay the period that `GET /v1/subscriptions/{id}` shows "
        "as `missed`."
    ),
    "CrossdockAccountQuiet": (
        "Are its posts refused (`crossdock_refused_total` by account)? If not, ask the platform's side: the "
        "webhook may have been switched off."
    ),
    "CrossdockTransfersLate": (
        "Goods of stock transfers are overdue: the time by which they are expected has passed, and a line has "
        "not been received in full. Are the account's receipts in quarantine (`crossdock quarantine list`), "
        "or is the account quiet (CrossdockAccountQuiet)? A transfer that will never arrive stays late until "
        "its order is sent again with the quantities that are still expected."
    ),
    "CrossdockTransfersBehind": (
        "After a backlog it catches up by itself. If it does not although nothing waits in `crossdock.store`, "
        'look for "transfers not computed" in the logs of the store workers, which names the error of '
        "PostgreSQL."
    ),
    "CrossdockPollFailing": (
        "An account's API refuses requests or is unavailable. `crossdock status` shows the error; check "
        "client ID and secret. Nothing is missed: the next poll continues where the last one ended."
    ),
}
"""Sentences by section, with the names of commands, settings and queues between backticks."""


def pieces(section: str) -> list[tuple[bool, str]]:
    """Return the advice of a section in pieces: whether each is code, and its text; none if there is no advice."""
    return [(bool(number % 2), text) for number, text in enumerate(ADVICE.get(section, "").split("`")) if text]


Kind = Literal["bad", "warn", "note"]


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence about something that needs somebody, and where to go on."""

    kind: Kind
    """`bad`: now. `warn`: today. `note`: worth knowing, and counted nowhere."""
    text: str
    href: str = ""
    """The page that lists it; empty if there is none."""
    link: str = ""
    """What the page is called."""
    section: str = ""
    """The section of docs/runbook.md that says what to do; empty if nothing has to be done."""
    command: str = ""
    """The command that shows the same."""
    since: datetime | None = None
    """Since when it is so, or what `since_word` says; None if that is not known."""
    since_word: str = "since"

    @property
    def advice(self) -> list[tuple[bool, str]]:
        """What to do, in pieces: whether each is code, and its text."""
        return pieces(self.section)
