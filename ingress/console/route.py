"""One row of the table of routes: a page or an action, and who may use it."""

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
from aiohttp import web

from ingress.console.context import Context
from ingress.console.form import Form
from ingress.console.session import Operator
from ingress.console.visit import Page, Visit

Who = Literal["nobody", "read", "act"]
"""Who may use a route: `nobody` stands for everybody who reaches the port, logged in or not."""
Serve = Callable[[Visit], Awaitable[Page | web.StreamResponse]]
Recognize = Callable[[Context, str, Form], Awaitable[Operator | None]]
"""Returns the operator whom a form logs in, or None; gets the client's address as well."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path. The right is checked here and nowhere else."""

    method: Literal["GET", "POST"]
    """A page only reads; an action changes something, or shows what it would change."""
    path: str
    serve: Serve
    who: Who
    follows_database: bool = True
    """Whether a page changes only when the database does, so that refreshing it costs one statement until then."""
    recognize: Recognize | None = None
    """Runs before a connection to the database is taken, because failed log-ins wait for their turn."""
    action: str = ""
    """The name under which a refused action is recorded, such as `deliveries.retry`; empty for a page."""


def page(path: str, serve: Serve, *, who: Who = "read", follows_database: bool = True) -> Route:
    """Return the route of a page."""
    return Route(method="GET", path=path, serve=serve, who=who, follows_database=follows_database)


def act(path: str, serve: Serve, action: str, *, who: Who = "act", recognize: Recognize | None = None) -> Route:
    """Return the route of an action."""
    return Route(method="POST", path=path, serve=serve, who=who, action=action, recognize=recognize)
