"""What needs somebody, in sentences: from what the database and the broker have, the most urgent first. Pure.

Of equal urgency, what holds up everybody comes first, then what holds up one subscriber or one account, and then single
messages and transfers; within each of these, what concerns the most.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlencode

import msgspec

from ingress.console.advice import Need
from ingress.console.render import capped, duration, plural
from schemas.consumers import PREFIX
from schemas.topology import DEAD, STORE, UNROUTED, reply_queue
from storage.overview import CAP, DISAGREEING, DISAGREEING_PERIOD, WAITING, AccountActivity, Overview
from storage.progress import flag_words

LATE_SECONDS = 120.0
"""Deliveries that have been due for longer are late, as in the alert CrossdockDeliveriesLate."""
BEHIND_SECONDS = 60.0
"""A view that is further behind needs somebody, as in the alert CrossdockTransfersBehind."""
DAY_SECONDS = 86_400.0
ROUTE = reply_queue("")
"""What the names of all queues of route workers begin with."""
BEHIND = 10_000
"""A queue of ours that is longer needs somebody, because its workers are behind."""
BACKLOG = 100_000
"""A consumer's queue that is longer needs somebody, as in the alert CrossdockConsumerBehind."""
EACH = 5
"""So many accounts or subscriptions get a sentence each; the others share one."""


def needs_of(
    stored: Overview,
    depths: Mapping[str, tuple[int, int]] | None,
    unknown: str | None,
    now: datetime,
    hosts: Mapping[tuple[str, str], str] = {},
) -> list[Need]:
    """Return what needs somebody, the most urgent first.

    `depths`: ready messages and consumers by queue; None if they are not known. `unknown`: why, if the broker was
    asked. `hosts`: where accounts are polled, by platform and account.
    """
    needs = [*_queues(depths or {}, unknown), *_late(stored, now), *_refused(stored, now), *_subscriptions(stored)]
    needs += [*_accounts(stored, hosts), *_failed(stored), *_quarantine(stored, now), *_transfers(stored, now)]
    return sorted(needs, key=lambda need: ("bad", "warn", "note").index(need.kind))


def _queues(depths: Mapping[str, tuple[int, int]], unknown: str | None) -> Iterator[Need]:
    if unknown is not None:
        yield Need(
            kind="bad",
            text=f"How much waits in RabbitMQ is not known: {unknown}",
            section="CrossdockNotReady",
            command="crossdock check",
        )
    for name, (messages, consumers) in sorted(depths.items()):
        if not messages:
            continue
        waiting = f"{plural(messages, 'message')} {'waits' if messages == 1 else 'wait'} in {name}"
        need = Need(kind="bad", text="", href="#queues", link="Queues", section="", command="crossdock status")
        if name in (DEAD, UNROUTED) or (name.startswith(PREFIX) and name.endswith(".dead")):
            is_single = messages == 1
            rejected = "it was rejected" if is_single else "they were rejected"
            why = f"no queue took {'it' if is_single else 'them'}" if name == UNROUTED else rejected
            yield msgspec.structs.replace(need, text=f"{waiting}: {why}.", section="CrossdockDead")
        elif name.startswith(PREFIX):
            if not consumers or messages > BACKLOG:
                who = "and its consumer is not connected" if not consumers else "more than its consumer takes"
                text, section = f"{waiting}, {who}.", "CrossdockConsumerBehind"
                yield msgspec.structs.replace(need, kind="warn", text=text, section=section)
        elif name.startswith((STORE, ROUTE)) and not consumers:
            text, section = (
                f"{waiting}, and nothing takes {'it' if messages == 1 else 'them'}.",
                "CrossdockQueueUnattended",
            )
            yield msgspec.structs.replace(need, text=text, section=section)
        elif name.startswith((STORE, ROUTE)) and messages > BEHIND:
            text, section = f"{waiting}: they arrive faster than they are taken.", "CrossdockBehind"
            yield msgspec.structs.replace(need, kind="warn", text=text, section=section)


def _ended(text: str) -> str:
    """Return a text with a full stop, because another sentence follows."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _ago(now: datetime, seconds: float) -> datetime:
    """Return the time so many seconds ago, to the second, because it is measured anew for every page."""
    return (now - timedelta(seconds=round(seconds))).replace(microsecond=0)


def _late(stored: Overview, now: datetime) -> Iterator[Need]:
    counts = stored.deliveries
    seconds = counts.oldest_due_seconds or 0.0
    # What waits for a server that does not take it has a sentence of its own.
    is_explained = counts.due <= sum(refused.waiting for refused in stored.refused)
    if seconds > LATE_SECONDS and not is_explained:
        yield Need(
            kind="bad",
            text=f"{_counted(counts.due, 'delivery is', 'deliveries are')} due and not sent, the oldest for "
            f"{duration(seconds)}.",
            href="/console/deliveries?status=pending",
            link="Deliveries that wait",
            section="CrossdockDeliveriesLate",
            command="crossdock deliveries list --status pending",
            since=_ago(now, seconds),
        )


def _failed(stored: Overview) -> Iterator[Need]:
    counts = stored.deliveries
    if counts.failed_today:
        yield Need(
            kind="warn",
            text=f"{_counted(counts.failed_today, 'delivery', 'deliveries')} failed for good in the last 24 hours.",
            href="/console/deliveries?status=failed",
            link="Failed deliveries",
            section="CrossdockDeliveriesFailed",
            command="crossdock deliveries list --status failed",
        )


def _refused(stored: Overview, now: datetime) -> Iterator[Need]:
    for refused in sorted(stored.refused, key=lambda refused: -refused.waiting):
        if refused.status_code is not None:
            why = f"was answered with {refused.status_code}"
        else:
            why = f"failed: {refused.error or refused.outcome or 'no reason is known'}"
        waiting = _counted(refused.waiting, "delivery waits", "deliveries wait", WAITING)
        yield Need(
            kind="warn",
            text=f"{waiting} for {_named(refused.subscriber)} at {refused.url}, the oldest for "
            f"{duration(refused.oldest_seconds)} and after {plural(refused.attempts, 'attempt')}: the last {why}.",
            href=f"/console/subscriptions/{refused.id}",
            link="Subscription",
            section="CrossdockBreakerOpen",
            command="crossdock deliveries list --status pending",
            since=_ago(now, refused.oldest_seconds),
        )


def _named(subscriber: str) -> str:
    """Return the name of a subscriber; the operators' own subscriptions have none."""
    return subscriber or "the subscription of the operators"


def _quarantine(stored: Overview, now: datetime) -> Iterator[Need]:
    for stage, count in sorted(stored.quarantine.items(), key=lambda item: -item[1].messages):
        if count.messages:
            is_old = count.oldest_seconds > DAY_SECONDS
            yield Need(
                kind="bad" if is_old else "warn",
                text=f"{_counted(count.messages, 'message is', 'messages are')} in quarantine as {stage}, the oldest "
                f"for {duration(count.oldest_seconds)}.",
                href=f"/console/quarantine?{urlencode({'stage': stage})}",
                link="Quarantine",
                section="CrossdockQuarantineWaits" if is_old else "CrossdockQuarantined",
                command=f"crossdock quarantine list --stage {stage}",
                since=_ago(now, count.oldest_seconds),
            )


def _subscriptions(stored: Overview) -> Iterator[Need]:
    disabled = [subscription for subscription in stored.disabled if subscription.reason is not None]
    for subscription in disabled[:EACH]:
        yield Need(
            kind="warn",
            text=f"Nothing is sent to {_named(subscription.subscriber)} at {subscription.url}, "
            f"because it was disabled: {_ended(subscription.reason or '')}",
            href=f"/console/subscriptions/{subscription.id}",
            link="Subscription",
            section="CrossdockSubscriptionDisabled",
            command="crossdock status",
            since=subscription.updated_at,
        )
    others = stored.deliveries.disabled - len(disabled[:EACH])
    if others:
        are = "subscription is" if others == 1 else "subscriptions are"
        is_unusual = len(disabled) > EACH
        yield Need(
            kind="warn" if is_unusual else "note",
            text=f"{others:,} {'more ' if is_unusual else ''}{are} disabled{'' if is_unusual else ', on request'}.",
            href="/console/subscriptions",
            link="Subscriptions",
            section="CrossdockSubscriptionDisabled" if is_unusual else "",
        )


def _accounts(stored: Overview, hosts: Mapping[tuple[str, str], str]) -> Iterator[Need]:
    failing = sorted(stored.failing_polls, key=lambda poll: -poll.failures)
    for poll in failing[:EACH]:
        times = "" if poll.failures == 1 else f" {poll.failures:,} times in a row"
        host = hosts.get((poll.platform, poll.account))
        where = "" if host is None else f" at {host}"
        error = poll.error or "no reason was given"
        yield Need(
            kind="warn",
            text=f"{poll.platform}/{poll.account} could not be polled{where}{times}: {_ended(error)}",
            href="#accounts",
            link="Accounts",
            section="CrossdockPollFailing",
            command="crossdock status",
            since=poll.last_ok_at,
            since_word="The last poll that succeeded:",
        )
    unpolled = {(poll.platform, poll.account) for poll in failing}  # of which it is clear why they are quiet
    quiet = [
        account
        for account in stored.accounts
        if account.quiet and account.limit_seconds is not None and (account.platform, account.account) not in unpolled
    ]
    quiet.sort(key=lambda account: -account.since_seconds / (account.limit_seconds or 1.0))
    for account in quiet[:EACH]:
        yield Need(
            kind="warn",
            text=f"{account.platform}/{account.account} has been quiet for {duration(account.since_seconds)}: "
            f"{_usual(account)}.",
            href=f"/console/events?{urlencode({'account': f'{account.platform}/{account.account}'})}",
            link="Its events",
            section="CrossdockAccountQuiet",
            command="crossdock status",
            since=account.last_at,
            since_word="The last message:",
        )
    for others, what, section in (
        (len(failing) - EACH, "could not be polled", "CrossdockPollFailing"),
        (len(quiet) - EACH, "quiet for longer than usual", "CrossdockAccountQuiet"),
    ):
        if others > 0:
            text = f"{plural(others, 'more account')} {'' if 'poll' in what else 'are '}{what}."
            yield Need(kind="warn", text=text, href="#accounts", link="Accounts", section=section)


def _usual(account: AccountActivity) -> str:
    limit = duration(account.limit_seconds or 0.0)
    return f"usually something comes every {duration(account.usual_seconds)}, and never later than after {limit}"


def _transfers(stored: Overview, now: datetime) -> Iterator[Need]:
    counts = stored.transfers
    late = sum(counts.late.values())
    if late:
        yield Need(
            kind="warn",
            text=f"{_counted(late, 'transfer is', 'transfers are')} late ({_by_account(counts.late)}), by up to "
            f"{duration(counts.longest_seconds)}.",
            href="/console/transfers?only=late",
            link="Late transfers",
            section="CrossdockTransfersLate",
            command="crossdock transfers --late",
            since=_ago(now, counts.longest_seconds),
            since_word="The first has been late since",
        )
    if counts.behind_seconds > BEHIND_SECONDS:
        yield Need(
            kind="warn",
            text=f"What is shown of transfers is {duration(counts.behind_seconds)} old.",
            href="/console/transfers",
            link="Transfers",
            section="CrossdockTransfersBehind",
            command="crossdock status",
        )
    disagreements = stored.disagreements
    if disagreements.transfers:
        words = ", ".join(
            f"{number:,} {word}"
            for number, word in zip(disagreements.flags.values(), flag_words([*disagreements.flags]), strict=True)
        )
        have = _counted(disagreements.transfers, "transfer has", "transfers have", DISAGREEING)
        yield Need(
            kind="note",
            text=f"{have} documents that disagree, among those of the last {DISAGREEING_PERIOD.days} days: {words}.",
            href="/console/transfers?only=disagreements",
            link="Transfers whose documents disagree",
            command="crossdock transfers --disagreements",
        )
    if counts.filled < 1:
        yield Need(
            kind="note",
            text=f"Transfers of before the upgrade are being computed: {counts.filled:.0%} done.",
            section="CrossdockTransfersBehind",
        )


def _counted(count: int, singular: str, others: str, cap: int | None = None) -> str:
    """Return a number that was not counted beyond `cap`, which is CAP by default, with its noun."""
    return f"{capped(count, CAP if cap is None else cap)} {singular if count == 1 else others}"


def _by_account(late: Mapping[str, int]) -> str:
    """Return the accounts with the most first, such as `rothys 12, acme 3 and 4 other accounts`."""
    names: Sequence[str] = sorted(late, key=lambda name: (-late[name], name))
    text = ", ".join(f"{name} {late[name]:,}" for name in names[:EACH])
    return text if len(names) <= EACH else f"{text} and {plural(len(names) - EACH, 'other account')}"
