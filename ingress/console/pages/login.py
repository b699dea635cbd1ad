"""Logging in and out: with a token, with a link that works once, or through a proxy."""

from urllib.parse import quote

import msgspec
from aiohttp import hdrs, web

from ingress.console.context import Context
from ingress.console.errors import PageError
from ingress.console.form import Form
from ingress.console.route import act, page
from ingress.console.session import Operator
from ingress.console.visit import HOME, NOBODY, Page, Visit, field, safe_path, see_other
from ingress.logins import TURN, TooManyFailuresError
from storage import actions

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
    if once is not None and visit.request.method == hdrs.METH_GET:
        return await _use_link(visit, once)
    target = safe_path(visit.request.query.get("next"))
    if visit.operator is not NOBODY:
        return see_other(target)
    return Page(template="login.html", view=LoginView(next=target), title="Log in")


async def recognize(context: Context, address: str, form: Form) -> Operator | None:
    """Return the operator with the token in the form, after a wait if there have been too many failures.

    Raises PageError: 400, 429.
    """
    token = field(form, "token")
    if token is None:
        return None
    limiter = context.limiter
    pair = limiter.pair(address, _LIMITED_NAME)
    try:
        is_slowed = await limiter.wait_for_turn(pair)
    except TooManyFailuresError as error:
        raise _slow_down(error) from None
    operator = context.sessions.by_token(token)
    if operator is not None:
        limiter.succeeded(pair)
        return operator
    limiter.failed(pair)
    if is_slowed:
        raise _slow_down(TooManyFailuresError(TURN))
    return None


async def log_in(visit: Visit) -> Page | web.StreamResponse:
    """Log in whom `recognize` has returned."""
    target = safe_path(visit.field("next"))
    if visit.operator is not NOBODY:
        return await _enter(visit, target)
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
    visit.log_in(operator)
    return await _enter(visit, HOME)


async def _enter(visit: Visit, target: str) -> web.StreamResponse:
    await visit.record("log-in")
    response = see_other(target)
    visit.context.sessions.log_in(visit.request, response, visit.operator)
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
    act(PATH, log_in, "log-in", who="nobody", recognize=recognize),
    act("/console/logout", log_out, "log-out", who="read"),
)
