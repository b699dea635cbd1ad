"""The first page: what needs attention now."""

import msgspec
from aiohttp import web

from ingress.console.route import page
from ingress.console.visit import Page, Visit


class NowView(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the pipeline."""


async def show(visit: Visit) -> Page | web.StreamResponse:
    """Show what needs attention."""
    return Page(template="now.html", view=NowView(), title="Now")


ROUTES = (page("/console", show),)
