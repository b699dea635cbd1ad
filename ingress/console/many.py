"""Actions on many things: the page that asks first, and the job that is started when it is confirmed."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import msgspec
from aiohttp import web

from ingress.console import confirm, notices
from ingress.console.confirm import Button, Confirmation
from ingress.console.errors import ErrorView, invalid
from ingress.console.visit import Page, Visit, safe_path, see_other
from storage import jobs
from storage.jobs import Filter, Kind

ACTIONS = "/console/actions"
MOST_TICKED = 5_000
"""Maximum number of rows that are ticked."""

notices.NOTICES |= {
    "job_started": "Started. It runs in the background, also if this page is closed.",
    "nothing_matched": "Nothing matches any more, so nothing was changed.",
    "nothing_ticked": "Nothing is ticked, so nothing was changed: tick at least one row, or use the button for all.",
}
notices.PROBLEMS |= {"nothing_matched", "nothing_ticked"}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An action on many things, as an operator asks for it."""

    kind: Kind
    path: str
    """Where its forms are sent."""
    question: str
    """Such as `Send 148 deliveries again?`"""
    what: str
    """What it acts on, in words."""
    consequence: str
    filter: Filter
    fields: Sequence[tuple[str, str]]
    """Hidden fields that select the same things again."""
    count: int
    is_exact: bool
    subject: str
    """What it acts on, as it is recorded."""
    buttons: Sequence[Button]
    back: str


def ticked(visit: Visit) -> list[UUID]:
    """Return the ids of the rows that were ticked, sorted. Raises PageError: 400."""
    ids = sorted(set(visit.field_uuids("id")))
    if len(ids) > MOST_TICKED:
        raise invalid(f"At most {MOST_TICKED:,} rows can be ticked. Use the button for all that match.")
    return ids


def nothing_ticked(visit: Visit, otherwise: str) -> web.Response:
    """Return to the list, which says that nothing is ticked."""
    return see_other(notices.done(back(visit, otherwise), "nothing_ticked"))


def back(visit: Visit, otherwise: str) -> str:
    """Return the page to go back to."""
    return safe_path(visit.field("back"), otherwise)


async def started_before(visit: Visit) -> web.StreamResponse | None:
    """Return where the form leads if it was sent before, and its job exists."""
    id_ = visit.field_uuid("job")
    if id_ is None or not await jobs.exists(visit.connection, id_):
        return None
    return see_other(notices.done(ACTIONS, "job_started"))


async def confirm_or_start(visit: Visit, request: Request) -> Page | web.StreamResponse:
    """Ask for confirmation first; start the job once it is given. Raises PageError: 400."""
    if not request.count:
        return see_other(notices.done(request.back, "nothing_matched"))
    id_ = visit.field_uuid("job")
    if id_ is None:
        return _ask(request)
    shown = visit.field("count") or ""
    typed = (visit.field("typed") or "").replace(",", "")
    if confirm.typed_for(request.count, is_exact=request.is_exact) and typed != shown:
        return _ask(request, mistyped=visit.field("typed") or "nothing")
    is_new = await jobs.create(
        visit.connection,
        visit.actor,
        request.kind,
        id_=id_,
        filter_=request.filter,
        subject=request.subject,
        total=request.count,
        is_exact=request.is_exact,
        note=visit.field("note"),
        try_first=visit.field("how") == "first",
    )
    if is_new:
        visit.announce(request.kind, subject=request.subject, count=request.count, outcome="started")
    return see_other(notices.done(ACTIONS, "job_started"))


def error_page(status: int, title: str, advice: str) -> Page:
    """Return an error page after which what was recorded is kept; an exception would undo it."""
    return Page(template="error.html", view=ErrorView(status, title, advice), title=title, status=status)


def _ask(request: Request, *, mistyped: str | None = None) -> Page:
    """Ask for confirmation. `mistyped`: what was typed before, which is not the number."""
    fields = [*request.fields, ("job", str(uuid4())), ("count", str(request.count)), ("back", request.back)]
    typed = confirm.typed_for(request.count, is_exact=request.is_exact)
    return confirm.page(
        Confirmation(
            problem="" if mistyped is None else f"Nothing was changed yet: {mistyped[:20]} is not {typed}.",
            question=request.question,
            what=request.what,
            consequence=request.consequence,
            action=request.path,
            fields=fields,
            buttons=request.buttons,
            typed=typed,
            back=request.back,
        )
    )
