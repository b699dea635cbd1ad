"""The first page: what needs somebody now, then how often each account sends, and how deep the queues are."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from broker.depth_reader import Depths
from ingress.console.advice import Need
from ingress.console.curve import Curve, curve
from ingress.console.overview import State
from ingress.console.route import page
from ingress.console.visit import Page, Visit
from schemas.consumers import PREFIX
from schemas.topology import DEAD, EVENTS_LOG, UNROUTED
from storage.overview import CAP, SLOTS, AccountActivity, DeliveryCounts, PollTimes
from storage.polls import FailingAccount

ACCOUNTS = 100
"""Maximum number of accounts that are shown; those that are quiet come first."""


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """A queue of the broker."""

    name: str
    messages: int
    consumers: int
    state: str
    kind: str
    """The shape of the state."""
    filled_seconds: float | None
    """How long it has had messages whenever somebody looked; None if it is empty."""


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account, and how often it sends."""

    platform: str
    account: str
    activity: AccountActivity | None
    """None if nothing has come in two weeks."""
    poll: FailingAccount | None
    """What is wrong if it cannot be polled; None if it can, or is not polled."""
    poll_times: PollTimes | None
    host: str
    """Where it is polled; empty if it is not, or if that is not known."""
    day: int
    """Messages of the last 24 hours."""
    curve: Curve


class NowView(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the pipeline."""

    needs: Sequence[Need]
    notes: Sequence[Need]
    deliveries: DeliveryCounts
    cap: int
    """What is counted to."""
    accounts: Sequence[AccountRow]
    more_accounts: int
    queues: Sequence[QueueRow] | None
    """None if they are not known."""
    unknown: str | None
    """Why they are not known although the broker was asked."""
    now: datetime


async def show(visit: Visit) -> Page | web.StreamResponse:
    """Show what needs somebody."""
    state = await visit.context.overview.current()
    configured = [(platform, name) for platform, names in visit.context.config.accounts.items() for name in names]
    accounts = account_rows(state, configured)
    view = NowView(
        needs=[need for need in state.needs if need.kind != "note"],
        notes=[need for need in state.needs if need.kind == "note"],
        deliveries=state.stored.deliveries,
        cap=CAP,
        accounts=accounts[:ACCOUNTS],
        more_accounts=max(0, len(accounts) - ACCOUNTS),
        queues=None if state.depths is None else queue_rows(state, state.depths),
        unknown=state.unknown,
        now=datetime.now(UTC),
    )
    return Page(template="now.html", view=view, title="Now")


def account_rows(state: State, configured: Sequence[tuple[str, str]]) -> list[AccountRow]:
    """Return a row per account that sent something in two weeks, and per configured one that did not.

    Those that cannot be polled come first, then those that are quiet for longer than usual.
    """
    activities = {(activity.platform, activity.account): activity for activity in state.stored.accounts}
    rows = []
    failing = {(poll.platform, poll.account): poll for poll in state.stored.failing_polls}
    for name in sorted({*activities, *configured, *failing}):
        history = state.history.get(name)
        rows.append(
            AccountRow(
                platform=name[0],
                account=name[1],
                activity=activities.get(name),
                poll=failing.get(name),
                poll_times=state.stored.poll_times.get(name),
                host=state.hosts.get(name, ""),
                day=0 if history is None else history.day,
                curve=curve([0] * SLOTS if history is None else history.slots),
            )
        )
    return sorted(rows, key=lambda row: (row.poll is None, row.activity is None or not row.activity.quiet))


def queue_rows(state: State, depths: Depths) -> list[QueueRow]:
    """Return a row per queue, by name."""
    rows = []
    for name, (messages, consumers) in sorted(depths.items()):
        words, kind = _queue_state(name, messages, consumers)
        since = state.filled_since.get(name)
        rows.append(
            QueueRow(
                name=name,
                messages=messages,
                consumers=consumers,
                state=words,
                kind=kind,
                filled_seconds=None if since is None else max(0.0, state.read_at - since),
            )
        )
    return rows


def _queue_state(name: str, messages: int, consumers: int) -> tuple[str, str]:
    if name == EVENTS_LOG:
        return "keeps what was announced", "neutral"
    if messages and (name in (DEAD, UNROUTED) or (name.startswith(PREFIX) and name.endswith(".dead"))):
        return "needs a look", "bad"
    if messages:
        return ("being taken", "busy") if consumers else ("nothing takes them", "bad")
    return "empty", "good" if consumers else "off"


ROUTES = (page("/console", show, follows_database=False),)
