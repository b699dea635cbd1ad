"""Who did what, and what is running: jobs with their progress, then the recorded actions, the newest first."""

from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from ingress.console import notices, paging
from ingress.console.errors import not_found
from ingress.console.many import ACTIONS
from ingress.console.paging import Rows
from ingress.console.route import act, page
from ingress.console.visit import Page, Visit, see_other
from storage import actions, jobs
from storage.actions import Action
from storage.jobs import Job

notices.NOTICES |= {
    "stopping": "It stops before its next piece. What is done stays done.",
    "job_ended": "It had ended already.",
}
KINDS = {
    "deliveries.retry": "Send deliveries again",
    "deliveries.cancel": "Cancel deliveries",
    "quarantine.replay": "Replay messages",
    "quarantine.discard": "Discard messages",
}
"""What jobs do, in words."""


class ActionsView(msgspec.Struct, frozen=True, kw_only=True):
    """Running jobs and recorded actions."""

    jobs: Sequence[Job]
    rows: Rows[Action]
    filters: dict[str, str]
    may_act: bool
    kinds: dict[str, str]

    def query(self, **changes: str) -> str:
        """Return the filters for an address, with changes."""
        return urlencode(self.filters | changes)


async def show(visit: Visit) -> Page | web.StreamResponse:
    """Show what is running, and what was done."""
    names = ("operator", "action", "subject")
    filters = {name: text for name in names if (text := visit.query(name)) is not None}
    before = paging.numbered_place(visit.query("after"))
    rows = await actions.listing(
        visit.connection,
        operator=filters.get("operator"),
        action=filters.get("action"),
        subject=filters.get("subject"),
        before=before,
        limit=paging.ROWS + 1,
    )
    view = ActionsView(
        jobs=await jobs.running(visit.connection) if before is None else [],
        rows=paging.page(rows, lambda action: (action.at, action.id)),
        filters=filters,
        may_act=visit.may_act,
        kinds=KINDS,
    )
    return Page(template="actions.html", view=view, title="Actions")


async def stop(visit: Visit) -> Page | web.StreamResponse:
    """Stop a job before its next piece."""
    id_ = visit.path_uuid("job")
    action = await jobs.ask_to_stop(visit.connection, id_)
    if action is None:
        if not await jobs.exists(visit.connection, id_):
            raise not_found(f"job {id_}")
        return see_other(notices.done(ACTIONS, "job_ended"))
    await visit.record("jobs.stop", subject=str(id_), note=action)
    return see_other(notices.done(ACTIONS, "stopping"))


ROUTES = (
    page(ACTIONS, show),
    act("/console/jobs/{id}/stop", stop, "jobs.stop"),
)
