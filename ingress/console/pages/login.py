"""Logging in and out: with a token, with a link that works once, or through a proxy."""

from urllib.parse import quote

import msgspec
from aiohttp import web

from ingress.console.errors import PageError
from ingress.console.route import act, page
from ingress.console.session import Operator
from ingress.console.visit import HOME, Page, Visit, safe_path, see_other
from ingress.logins import TURN, TooManyFailuresError
from storage import actions
from storage.actions import Actor

PATH = "/console/login"
_LIMITED_NAME = b"\0console"
"""Name under which failed tokens are counted, because a token comes without a name."""


class LoginView(msgspec.Struct, frozen=True, kw_only=True):
    """What the form shows."""

    next: str
    """Where to go after the log-in."""
    problem: str | None = None


def address(path: str) -> str:
    """Return the address of the form that leads to a path of the console."""
    return PATH if path == HOME else f"{PATH}?next={quote(path, safe='/')}"


async def show(visit: Visit) -> Page | web.StreamResponse:
    """Show the form, or log in with a link."""
    once = visit.request.query.get("once")
    if once is not None and visit.request.method == "GET":
        return await _use_link(visit, once)
    view = LoginView(next=safe_path(visit.request.query.get("next")))
    return Page(template="login.html", view=view, title="Log in")


async def log_in(visit: Visit) -> Page | web.StreamResponse:
    """Log in with a token."""
    sessions, limiter = visit.context.sessions, visit.context.limiter
    target = safe_path(visit.field("next"))
    pair = limiter.pair(visit.actor.address, _LIMITED_NAME)
    try:
        is_slowed = await limiter.wait_for_turn(pair)
    except TooManyFailuresError as error:
        raise _slow_down(error) from None
    token = visit.field("token") or ""
    operator = sessions.by_token(token)
    if operator is not None:
        limiter.succeeded(pair)
        return await _enter(visit, operator, target)
    if token:
        limiter.failed(pair)
    if is_slowed:
        raise _slow_down(TooManyFailuresError(TURN))
    problem = "No operator has this token. It is the value of [operators.NAME] token, or of [api] operator_token."
    return Page(template="login.html", view=LoginView(next=target, problem=problem), title="Log in", status=403)


async def log_out(visit: Visit) -> Page | web.StreamResponse:
    """Log the operator out."""
    response = see_other(PATH)
    visit.context.sessions.log_out(visit.request, response)
    await visit.record("log-out")
    return response


async def _use_link(visit: Visit, once: str) -> web.StreamResponse:
    sessions = visit.context.sessions
    link = sessions.link(once)
    operator = None if link is None else sessions.linked(link)
    if link is None or operator is None or not await actions.use_link(visit.connection, link.id):
        raise PageError(
            403,
            "This link cannot log you in any more",
            "A link works once, for twelve hours. Log in with a token, or start `crossdock up` again for another link.",
        )
    return await _enter(visit, operator, HOME)


async def _enter(visit: Visit, operator: Operator, target: str) -> web.StreamResponse:
    actor = Actor(operator.name, operator.role, visit.actor.address)
    await actions.record(visit.connection, actor, "log-in")
    response = see_other(target)
    visit.context.sessions.log_in(visit.request, response, operator)
    return response


def _slow_down(error: TooManyFailuresError) -> PageError:
    return PageError(
        429,
        "Too many failed log-ins",
        f"Wait {error.seconds} s, and try again.",
        headers={"Retry-After": str(error.seconds)},
    )


ROUTES = (
    page(PATH, show, who="nobody"),
    act(PATH, log_in, "log-in", who="nobody"),
    act("/console/logout", log_out, "log-out", who="read"),
)
